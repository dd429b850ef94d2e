"""How long properties are searched for a counterexample: briefly by default, longer with HOSU_NIGHTLY=1."""

import os
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings

IS_NIGHTLY = os.environ.get("HOSU_NIGHTLY") == "1"

MACHINES = settings(
    max_examples=400 if IS_NIGHTLY else 100,
    stateful_step_count=80 if IS_NIGHTLY else 30,
    deadline=None,  # a busy machine is no counterexample
    suppress_health_check=[HealthCheck.too_slow],
)
"""For stateful machines on real lakes."""

LISTINGS = settings(max_examples=2_000 if IS_NIGHTLY else 60, deadline=None)
"""For one property of one lake or function."""

POLICIES = settings(
    max_examples=4_000 if IS_NIGHTLY else 300,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],  # a policy is made of many small choices
)
"""For policies, which are made up and decided without a disk."""

MEMORY = Path("/dev/shm")


def scratch_folder() -> tempfile.TemporaryDirectory[str]:
    """Make a folder, in memory where there is such a place: a machine makes a lake for every example."""
    is_fast = MEMORY.is_dir() and os.access(MEMORY, os.W_OK)
    return tempfile.TemporaryDirectory(prefix="hosu-", dir=MEMORY if is_fast else None)
