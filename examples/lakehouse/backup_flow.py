"""A Prefect flow that backs a lake up every night, checks what it wrote, and lets old snapshots go.

    python backup_flow.py --once          # now, in this process
    python backup_flow.py                 # at two every night, as a deployment of the Prefect server in PREFECT_API_URL

`LAKE` and `BACKUP` name the lake's folder and the place of its backups; `HOSU` the command, where it is not in the
path. hosu may be installed in another environment than Prefect: the flow runs its command.
"""

import json
import os
import subprocess
import sys

from prefect import flow, get_run_logger, task

LAKE = os.environ.get("LAKE", "./lake")
BACKUP = os.environ.get("BACKUP", "/mnt/backup/lake")
HOSU = os.environ.get("HOSU", "hosu")
CRON = "0 2 * * *"
KEEP = ("--keep-daily", "7", "--keep-weekly", "8")
RETRY_SECONDS = float(os.environ.get("RETRY_SECONDS", "300"))


def hosu(*words: str) -> list[dict]:
    """Run the command, and return its lines; a failure says what the command said."""
    done = subprocess.run([HOSU, *words, "--json"], capture_output=True, text=True, check=False)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    if done.returncode:
        raise RuntimeError(f"hosu {' '.join(words[:2])}: {lines or done.stderr}")
    return lines


@task(retries=3, retry_delay_seconds=RETRY_SECONDS)
def back_up(lake: str, backup: str) -> dict:
    """Write what has changed since the last snapshot."""
    (line,) = hosu("backup", "run", lake, backup)
    get_run_logger().info(
        "snapshot %s: %s objects, wrote %s bytes", line["snapshot"], line["objects"], line["written_bytes"]
    )
    return line


@task(retries=1, retry_delay_seconds=RETRY_SECONDS)
def verify(backup: str) -> dict:
    """Look whether the newest snapshot could be restored."""
    (line,) = hosu("backup", "verify", backup)
    return line


@task
def prune(backup: str) -> dict:
    """Remove snapshots that are too old, and what only they needed."""
    return hosu("backup", "prune", backup, *KEEP)[-1]


@flow(name="lake-backup")
def backup_flow(lake: str = LAKE, backup: str = BACKUP) -> dict:
    """Back up, verify, prune: each only after the one before went well."""
    taken = back_up(lake, backup)
    checked = verify(backup)
    pruned = prune(backup)
    return {
        "snapshot": taken["snapshot"],
        "objects": taken["objects"],
        "files": checked["files"],
        "kept": pruned["kept"],
    }


if __name__ == "__main__":
    if "--once" in sys.argv[1:]:
        print(json.dumps(backup_flow()))
    else:
        backup_flow.serve(name="nightly", cron=CRON)
