"""Documents kept with the lake as a whole, of which every process hears at once: its rules, its schedule."""

from hosu.objects.transaction import Tx
from hosu.objects.views import View


def get_lake_document(view: View, kind: str) -> str | None:
    """Return a document of the lake, or None when unset."""
    body: str | None = view.value("SELECT body FROM lake_document WHERE kind = ?", (kind,))
    return body


def set_lake_document(tx: Tx, kind: str, body: str | None, *, actor: str = "") -> None:
    """Set or, with None, remove a document of the lake."""
    if body is None:
        tx.run("DELETE FROM lake_document WHERE kind = ?", (kind,))
    else:
        tx.run("INSERT OR REPLACE INTO lake_document VALUES (?, ?)", (kind, body))
    tx.change_access()
    tx.record_event(tx.next_seq(), f"LakeDocument:{kind}", "", "", "", 0, "", actor)
