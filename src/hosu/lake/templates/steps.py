"""What making a template comes to: its steps, and what became of each."""

from collections.abc import Callable
from enum import StrEnum
from typing import NamedTuple

import msgspec

from hosu.identity.records import NewKey
from hosu.objects.transaction import Tx


class State(StrEnum):
    """What became of a step, or in a dry run would become of it."""

    MADE = "made"
    KEPT = "kept"
    """It is there already, as the template has it or changed since: it was left alone."""

    SKIPPED = "skipped"
    """It cannot be made here, for the reason given."""


class Step(msgspec.Struct, frozen=True):
    """One thing of a template. `kind` is bucket, versioning, folder, alias, policy, user, or that of a rule."""

    kind: str
    name: str
    state: State
    reason: str = ""


class Outcome(msgspec.Struct, frozen=True):
    """What was done, and the users that were made with their secrets: the only time that they are shown."""

    steps: tuple[Step, ...]
    keys: tuple[NewKey, ...] = ()


class Planned(NamedTuple):
    """A step, and what makes it."""

    step: Step
    make: Callable[[Tx], NewKey | None]
