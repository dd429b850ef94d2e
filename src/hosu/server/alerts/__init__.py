"""Alerts: noticing what only the server sees, and telling people by webhook and mail."""
