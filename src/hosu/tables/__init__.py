"""Streaming tables: an engine for the format of Apache Paimon, vectorised on Arrow, over a FileIO."""
