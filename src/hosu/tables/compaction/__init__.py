"""Compaction: sorted runs of a bucket made fewer, as Paimon's universal compaction does it."""
