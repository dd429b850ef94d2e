"""What the server adds to the audit log beside changes: denied requests and, where switched on, reads."""
