#!/bin/sh
exec "$(dirname "$0")/../run.sh" smart-door "$(dirname "$0")/door.py"
