"""Metrics for Prometheus, by MinIO's names and by names of our own."""
