"""hosu: a data lake in one folder and one command.

import hosu

with hosu.open("./lake") as lake:
    lake.create_bucket("images", exist_ok=True).put("raw/a.jpg", body)
"""

from typing import TYPE_CHECKING

from hosu._version import __version__

if TYPE_CHECKING:
    from hosu.lake import Lake
    from hosu.lake import open_lake as open  # noqa: A004 - called as `hosu.open`, like the open of other modules
    from hosu.lake.backups import restore

__all__ = ["Lake", "__version__", "open", "restore"]

_LOADED_WHEN_USED = {
    "Lake": ("hosu.lake", "Lake"),
    "open": ("hosu.lake", "open_lake"),
    "restore": ("hosu.lake.backups", "restore"),
}


if not TYPE_CHECKING:  # to a type checker any name would exist

    def __getattr__(name: str) -> object:
        # Every command imports this package; only those who open a lake owe the time to load the engine.
        if name in _LOADED_WHEN_USED:
            import importlib  # noqa: PLC0415 - see above

            module, attribute = _LOADED_WHEN_USED[name]
            return getattr(importlib.import_module(module), attribute)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
