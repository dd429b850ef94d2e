"""Rows into tables: sorted, folded and written by bucket, then committed; deletes, updates and overwrites."""
