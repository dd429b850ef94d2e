"""Bronze, silver and gold as Delta tables on S3, by Spark: one phase a run, what was found as JSON on the last line.

Run in the environment of the scenarios: `spark_tiers.py build|read JARS`; the address and key come as variables.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

from delta.tables import DeltaTable
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f

RAW = "s3a://landing/sensors/*.csv"
BRONZE, SILVER, GOLD = "s3a://bronze/readings", "s3a://silver/readings", "s3a://gold/daily"
EXPORT = "s3a://gold/export"

SETTINGS = {
    "spark.master": "local[2]",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.ui.enabled": "false",
    "spark.sql.shuffle.partitions": "2",
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    "spark.databricks.delta.snapshotPartitions": "2",
    "spark.hadoop.fs.s3a.path.style.access": "true",
    "spark.hadoop.fs.s3a.connection.ssl.enabled": "false",
    "spark.hadoop.fs.s3a.attempts.maximum": "3",
    "spark.hadoop.fs.s3a.committer.name": "magic",
    "spark.hadoop.fs.s3a.committer.magic.enabled": "true",
    "spark.hadoop.mapreduce.outputcommitter.factory.scheme.s3a": (
        "org.apache.hadoop.fs.s3a.commit.S3ACommitterFactory"
    ),
    "spark.sql.sources.commitProtocolClass": "org.apache.spark.internal.io.cloud.PathOutputCommitProtocol",
    "spark.sql.parquet.output.committer.class": ("org.apache.spark.internal.io.cloud.BindingParquetOutputCommitter"),
}
"""Path style, and S3A's own committer, which puts nothing in place before a job is whole."""


def start(jars: str) -> SparkSession:
    """Start Spark in this process, for the server that the environment names."""
    builder = SparkSession.builder.appName("tiers").config("spark.jars", ",".join(map(str, Path(jars).glob("*.jar"))))
    for name, value in SETTINGS.items():
        builder = builder.config(name, value)
    builder = builder.config("spark.hadoop.fs.s3a.endpoint", os.environ["AWS_ENDPOINT_URL"])
    builder = builder.config("spark.hadoop.fs.s3a.access.key", os.environ["AWS_ACCESS_KEY_ID"])
    builder = builder.config("spark.hadoop.fs.s3a.secret.key", os.environ["AWS_SECRET_ACCESS_KEY"])
    return builder.getOrCreate()


def build(spark: SparkSession) -> dict[str, Any]:
    """Fill all three tiers, and write one of them as plain Parquet too."""
    raw = spark.read.option("header", "true").csv(RAW)
    raw.write.format("delta").mode("append").save(BRONZE)
    raw.limit(10).write.format("delta").mode("append").save(BRONZE)
    bronze = spark.read.format("delta").load(BRONZE)
    silver = clean(bronze)
    silver.write.format("delta").partitionBy("sensor").mode("overwrite").save(SILVER)
    silver.write.format("delta").partitionBy("sensor").mode("overwrite").save(SILVER)
    late = silver.orderBy("sensor", "at").limit(5).withColumn("value", f.lit(0.0))
    table = DeltaTable.forPath(spark, SILVER)
    matches = "old.sensor = new.sensor AND old.at = new.at"
    table.alias("old").merge(late.alias("new"), matches).whenMatchedUpdateAll().whenNotMatchedInsertAll().execute()
    table.delete("value > 99")
    summed(spark.read.format("delta").load(SILVER)).write.format("delta").mode("overwrite").save(GOLD)
    spark.read.format("delta").load(GOLD).write.mode("overwrite").parquet(EXPORT)
    spark.read.format("delta").load(GOLD).write.mode("append").parquet(EXPORT)
    first = spark.read.format("delta").option("versionAsOf", 0).load(BRONZE)
    return {
        "raw": raw.count(),
        "bronze": bronze.count(),
        "bronze_first": first.count(),
        "silver": spark.read.format("delta").load(SILVER).count(),
        "zeros": spark.read.format("delta").load(SILVER).where("value = 0").count(),
        "versions": [row["operation"] for row in table.history().select("operation").collect()],
        "gold": rows_of(spark),
        "export": spark.read.parquet(EXPORT).count(),
    }


def read(spark: SparkSession) -> dict[str, Any]:
    """Read what others have written meanwhile."""
    bronze = spark.read.format("delta").load(BRONZE)
    return {"bronze": bronze.count(), "gold": rows_of(spark), "export": spark.read.parquet(EXPORT).count()}


def clean(bronze: DataFrame) -> DataFrame:
    """Return readings once each, typed, without those that are none."""
    typed = bronze.select("sensor", f.col("at").cast("timestamp").alias("at"), f.col("value").cast("double"))
    return typed.where("value IS NOT NULL").dropDuplicates(["sensor", "at"])


def summed(silver: DataFrame) -> DataFrame:
    """Return how many readings each sensor has, and the largest."""
    return silver.groupBy("sensor").agg(f.count("*").alias("readings"), f.max("value").alias("largest"))


def rows_of(spark: SparkSession) -> list[list[Any]]:
    """Return the gold table, by sensor."""
    rows = spark.read.format("delta").load(GOLD).orderBy("sensor").collect()
    return [[row["sensor"], row["readings"], row["largest"]] for row in rows]


if __name__ == "__main__":
    session = start(sys.argv[2])
    try:
        found = {"build": build, "read": read}[sys.argv[1]](session)
    finally:
        session.stop()
    print(json.dumps(found))
