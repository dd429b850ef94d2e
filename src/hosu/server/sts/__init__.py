"""STS: temporary credentials, for those who have a key here and for those an identity provider vouches for."""
