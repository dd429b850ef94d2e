"""Manifests: which files a snapshot is made of, as Avro files of Paimon's."""

from hosu.tables.manifests.live import index_entries, live_entries, live_files, partition_values
from hosu.tables.manifests.partitions import PartitionFilter, PartitionPredicate, Partitions
from hosu.tables.manifests.reader import ManifestReader

__all__ = [
    "ManifestReader",
    "PartitionFilter",
    "PartitionPredicate",
    "Partitions",
    "index_entries",
    "live_entries",
    "live_files",
    "partition_values",
]
