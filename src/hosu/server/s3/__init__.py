"""The S3 protocol over the object engine."""
