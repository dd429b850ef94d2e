"""Backups: the whole lake at one moment, in a folder or any S3, of which each run writes what has changed.

A backup is a folder of files that are named by the BLAKE3 of their bytes, and of snapshots that list what they need:

    hosu-backup.json     which format this is
    lock.json            who writes to it just now
    blobs/ab/<hash>      the stored bytes of one blob file, or a piece of another file of the lake
    packs/ab/<hash>      the stored bytes of many small blobs, one after the other
    records/ab/<hash>    rows of the lake's tables: lines of JSON, compressed by Zstandard
    snapshots/<time>-<id>.json   written last: without it nothing has happened
"""
