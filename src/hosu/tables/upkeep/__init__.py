"""Upkeep: what a table no longer needs is deleted, and what it should have is made."""
