#!/bin/sh
exec "$(dirname "$0")/../run.sh" medallion "$(dirname "$0")/tiers.py"
