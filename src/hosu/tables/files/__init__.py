"""Data files: rows of one bucket in Parquet, ORC or Avro, written and read under any schema of the table."""

from hosu.tables.files.reading import read_file
from hosu.tables.files.writing import write_files

__all__ = ["read_file", "write_files"]
