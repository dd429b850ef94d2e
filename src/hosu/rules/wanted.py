"""Whether there is anything for each job to do: a few cheap reads, with nothing imported that a job needs.

The process that serves S3 asks them too, to have the keeper started.
"""

from collections.abc import Callable, Mapping

from hosu.kernel.settings import Settings
from hosu.objects.views import View

Wanted = Callable[[View, Settings], bool]


def has_bucket_document(view: View, kind: str) -> bool:
    """Say whether any bucket has such a document."""
    return bool(view.value("SELECT EXISTS (SELECT 1 FROM bucket_document WHERE kind = ?)", (kind,)))


WANTED: Mapping[str, Wanted] = {}
"""By the job's name."""


def is_any_wanted(view: View, settings: Settings) -> bool:
    """Say whether there is anything to do for any job."""
    return any(wanted(view, settings) for wanted in WANTED.values())
