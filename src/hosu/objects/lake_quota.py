"""The quota of the whole lake, as every process remembers it: part of the lake's document `capacity`."""

import msgspec

from hosu.kernel.errors import CorruptError, ErrorKind
from hosu.objects.generation import Generation
from hosu.objects.views import View

CAPACITY_DOCUMENT = "capacity"
"""Kind of the lake's document whose `quota_bytes` it is; the rest of it is for the rule that makes room."""


class _Limit(msgspec.Struct, frozen=True):
    quota_bytes: int = 0


class LakeQuota:
    """The number, read once until it may have changed; asked with every write."""

    def __init__(self, generation: Generation) -> None:
        self._generation = generation
        self._kept = (-1, 0)

    def find(self, view: View) -> int:
        """Return how many bytes the lake may hold; 0 is no limit."""
        kept_at, quota_bytes = self._kept
        number = self._generation.number()
        if number != kept_at:
            quota_bytes = self.read(view)
            self._kept = (number, quota_bytes)
        return quota_bytes

    def read(self, view: View) -> int:
        """Return it as `view` has it, which may be a transaction that has changed it and may yet fail."""
        text: str | None = view.value("SELECT body FROM lake_document WHERE kind = ?", (CAPACITY_DOCUMENT,))
        try:
            return 0 if text is None else msgspec.json.decode(text, type=_Limit).quota_bytes
        except msgspec.MsgspecError as error:
            raise CorruptError(
                ErrorKind.CORRUPT_LAKE, f"what the lake says of its capacity cannot be read: {error}"
            ) from error
