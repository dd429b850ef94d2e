"""Snapshots: the states a table has been in, and what keeps them."""
