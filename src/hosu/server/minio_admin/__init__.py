"""MinIO's admin API, as `mc admin` and minio-py's `MinioAdmin` speak it, below /minio/admin/v3 and /minio/kms/v1."""
