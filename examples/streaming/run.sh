#!/bin/sh
exec "$(dirname "$0")/../run.sh" streaming "$(dirname "$0")/ticks.py"
