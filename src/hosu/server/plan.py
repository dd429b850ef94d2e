"""What a server hands to its supervisor and, through it, to the processes."""

import msgspec

from hosu.kernel.lakekey import LakeKey
from hosu.kernel.settings import Settings

CONSOLE, KEEPER, S3, S3_WITH_UPKEEP = "console", "keeper", "s3", "s3-with-upkeep"
"""Roles of processes; one of those that serve S3 sweeps the lake, the keeper carries out its rules."""


class Process(msgspec.Struct, frozen=True):
    """A process to run. `listener` is the descriptor of its socket; a lazy one starts with its first client."""

    name: str
    role: str
    listener: int
    is_lazy: bool = False


class Plan(msgspec.Struct, frozen=True):
    """All of it. The supervisor reads `services` and the log level, the processes the rest."""

    services: list[Process]
    lake: str
    settings: Settings
    access_key: str
    secret: str
    s3_host: str
    s3_port: int
    connections_max: int
    started_ms: int = 0
    lake_key: LakeKey | None = None
