#!/bin/sh
# Serve a new lake made from a template, run a script against it, stop.  usage: run.sh TEMPLATE SCRIPT
set -eu
template=$1 script=$2
python=${PYTHON:-python3}
folder=$(mktemp -d)
export HOSU_ROOT_USER=${HOSU_ROOT_USER:-admin} HOSU_ROOT_PASSWORD=${HOSU_ROOT_PASSWORD:-password123}
address=${EXAMPLE_ADDRESS:-127.0.0.1:9000} console=${EXAMPLE_CONSOLE_ADDRESS:-127.0.0.1:9001}

# The secrets that init shows once are kept for the script, where only this user can read them.
umask 077
"$python" -m hosu init "$folder/lake" --template "$template" --json > "$folder/init.jsonl"
"$python" -m hosu serve "$folder/lake" --address "$address" --console-address "$console" > "$folder/server.log" 2>&1 &
server=$!
trap 'kill $server; wait $server || true; rm -rf "$folder"' EXIT

for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    "$python" -c "import urllib.request as u; u.urlopen('http://$address/minio/health/ready')" 2> "$folder/wait.log" && break
    kill -0 $server || { cat "$folder/server.log"; exit 1; }
    sleep 0.5
done
EXAMPLE_LAKE="$folder/lake" EXAMPLE_SECRETS="$folder/init.jsonl" EXAMPLE_ENDPOINT="$address" "$python" "$script"
