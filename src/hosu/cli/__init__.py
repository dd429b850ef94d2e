"""The `hosu` command."""
