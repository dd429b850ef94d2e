"""Paimon tables on S3, by Spark: statements as JSON on the command line, the rows of each as JSON on the last line.

Run in the environment of the scenarios: `spark_tables.py JARS WAREHOUSE STATEMENTS`; the address and key come as
variables.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

SETTINGS = {
    "spark.master": "local[2]",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.ui.enabled": "false",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.shuffle.partitions": "2",
    "spark.sql.extensions": "org.apache.paimon.spark.extensions.PaimonSparkSessionExtensions",
    "spark.sql.catalog.paimon": "org.apache.paimon.spark.SparkCatalog",
    "spark.sql.defaultCatalog": "paimon",
    "spark.hadoop.fs.s3a.path.style.access": "true",
    "spark.hadoop.fs.s3a.connection.ssl.enabled": "false",
    "spark.hadoop.fs.s3a.attempts.maximum": "3",
}


def start(jars: str, warehouse: str) -> SparkSession:
    """Start Spark in this process, with the warehouse of the server that the environment names."""
    builder = SparkSession.builder.appName("tables").config("spark.jars", ",".join(map(str, Path(jars).glob("*.jar"))))
    for name, value in SETTINGS.items():
        builder = builder.config(name, value)
    builder = builder.config("spark.sql.catalog.paimon.warehouse", warehouse)
    builder = builder.config("spark.hadoop.fs.s3a.endpoint", os.environ["AWS_ENDPOINT_URL"])
    builder = builder.config("spark.hadoop.fs.s3a.access.key", os.environ["AWS_ACCESS_KEY_ID"])
    builder = builder.config("spark.hadoop.fs.s3a.secret.key", os.environ["AWS_SECRET_ACCESS_KEY"])
    return builder.getOrCreate()


def rows_of(spark: SparkSession, statement: str) -> list[list[Any]]:
    """Carry out a statement, and return its rows as JSON can have them."""
    return [
        [str(value) if hasattr(value, "isoformat") else value for value in row]
        for row in spark.sql(statement).collect()
    ]


if __name__ == "__main__":
    session = start(sys.argv[1], sys.argv[2])
    session.sparkContext.setLogLevel("ERROR")
    try:
        found = [rows_of(session, statement) for statement in json.loads(sys.argv[3])]
    finally:
        session.stop()
    print(json.dumps(found))
