"""Jobs of the keeper: the process that carries out a lake's rules.

It runs while there is something for it to do. `hosu.rules.wanted` says by a job's name whether it is wanted; it is
asked when the lake was opened, whenever what processes remember has changed, and once a minute. Each job runs in a
thread of its own.
"""

import threading
from collections.abc import Callable
from typing import Protocol

import msgspec

from hosu.kernel.settings import Settings
from hosu.objects.store import ObjectStore

Count = Callable[[str, int], None]


class Keep(msgspec.Struct, frozen=True):
    """What the jobs of one keeper are given.

    `count(name, number)` adds to a number that metrics show: `family/label/…`, as `hosu.server.metrics.own` knows it.
    """

    store: ObjectStore
    settings: Settings
    count: Count
    root: str = ""
    """Root's access key: a name in audit lines and events."""

    endpoint: str = ""
    """Where S3 is served, as a URL."""


class Job(Protocol):
    """Something that is done again and again."""

    name: str
    """Key of `hosu.rules.wanted.WANTED`."""

    def run(self, stop: threading.Event) -> float:
        """Do it once, until `stop` is set at the latest; return after how many seconds it is due again.

        It also runs, sooner than it is due, when what processes remember has changed. What it raises is logged, and
        it is due again in a minute.
        """
        ...


JobMaker = Callable[[Keep], Job]
