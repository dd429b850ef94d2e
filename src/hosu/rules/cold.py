"""The class COLD: objects that keep all that clients see of them, and take less room.

What is put into a cold class is stored as it comes, and compressed afterwards by the keeper. What lifecycle rules move
there is compressed on the way.
"""

import os
import threading

from hosu.kernel.errors import CorruptError, HosuError
from hosu.kernel.log import get_logger
from hosu.objects.audit import Origin
from hosu.objects.coding.recoding import Recoded, recode
from hosu.objects.records import COLD
from hosu.objects.store import ObjectStore
from hosu.objects.transaction import Tx
from hosu.rules.keeping import Keep
from hosu.rules.transcoding import PictureCoder

PRINCIPAL = "hosu:lifecycle"
ROWS_PER_LOOK = 64
PAUSE_S = 5.0
RETRY_S = 600.0
"""When what could not be compressed is tried again, where there was nothing else."""

NICENESS = 10
"""Compressing has time: whoever answers clients comes first."""

_LOG = get_logger("cold")
_CODE_PICTURE = PictureCoder()


def transition(
    store: ObjectStore,
    bucket: str,
    key: str,
    seq: int,
    storage_class: str = COLD,
    origin: Origin | None = None,
) -> bool:
    """Move the version of order `seq` into a class; False when it is gone or was replaced meanwhile.

    Into a cold class it is compressed, where that saves at least 5 % of its bytes. Commits by itself, and blocks for as
    long as compressing takes. Raises CorruptError for an object whose bytes are not what they were, UnavailableError
    when the disk fails; its class has not changed then.
    """
    return move(store, bucket, key, seq, storage_class, origin=origin) is not None


def move(
    store: ObjectStore, bucket: str, key: str, seq: int, storage_class: str | None, *, origin: Origin | None = None
) -> Recoded | None:
    """Do as `transition`, and return what it saved; without a class the version keeps its own."""
    return recode(store, bucket, key, seq, storage_class=storage_class, origin=origin, code_picture=_CODE_PICTURE)


class ColdJob:
    """Compresses what was put into a cold class."""

    name = "cold"

    def __init__(self, keep: Keep) -> None:
        self._keep = keep

    def run(self, stop: threading.Event) -> float:
        """Compress all that waits, one object after the other."""
        _give_way()
        after, is_any_done, has_failed = 0, False, False
        while not stop.is_set():
            rows = self._keep.store.view().rows(
                "SELECT seq, name, key FROM uncoded LEFT JOIN bucket ON bucket.id = bucket_id WHERE seq > ? "
                "ORDER BY seq LIMIT ?",
                (after, ROWS_PER_LOOK),
            )
            if not rows:
                break
            for seq, bucket, key in rows:
                if stop.is_set():
                    break
                after = seq
                if self._compress(bucket, key, seq):
                    is_any_done = True
                else:
                    has_failed = True
        _CODE_PICTURE.close()
        return RETRY_S if has_failed and not is_any_done else PAUSE_S

    def _compress(self, bucket: str | None, key: str, seq: int) -> bool:
        """Compress one object; False when it is to be tried again."""
        count = self._keep.count
        try:
            found = None
            if bucket is not None:
                reason = "its class asks for it: stored compressed where that saves 5 %"
                origin = Origin("", "cold:Compress", PRINCIPAL, bucket=bucket, key=key, reason=reason)
                found = move(self._keep.store, bucket, key, seq, None, origin=origin)
            if found is None:
                self._forget(seq)
                return True
        except CorruptError as error:
            _LOG.warning("an object cannot be compressed", bucket=bucket, reason=error.message)
            count("rule_errors/cold", 1)
            self._forget(seq)  # reading it tells the same; restored, it stays as it is
            return True
        except HosuError as error:
            _LOG.warning("an object cannot be compressed now", bucket=bucket, reason=error.message)
            count("rule_errors/cold", 1)
            return False
        count("rule_actions/cold/compress", 1)
        count("rule_bytes/cold/compress", found.saved_bytes)
        return True

    def _forget(self, seq: int) -> None:
        def forget(tx: Tx) -> None:
            tx.run("DELETE FROM uncoded WHERE seq = ?", (seq,))

        self._keep.store.commit(forget)


def _give_way() -> None:
    if hasattr(os, "setpriority"):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
