"""Lifecycle of objects by S3's rules: what expires, changes its storage class, or is given up, and when."""
