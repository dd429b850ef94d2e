"""What an import needs of the network and of the S3 protocol."""
