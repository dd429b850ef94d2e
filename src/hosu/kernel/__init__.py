"""What every engine stands on: errors, time, limits, disk, files and settings. Imports nothing of hosu above it."""
