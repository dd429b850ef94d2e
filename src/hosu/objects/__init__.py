"""The embedded object engine: buckets, records, blobs, versions and multipart uploads. No network."""
