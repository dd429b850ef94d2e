"""Reading: what of a snapshot's files a query needs, its rows, and what changed between snapshots."""

from hosu.tables.reading.changes import ROW_KIND, Between, ChangeBatch, Start, changes, changes_between
from hosu.tables.reading.scan import Scan
from hosu.tables.reading.splits import Split, plan

__all__ = ["ROW_KIND", "Between", "ChangeBatch", "Scan", "Split", "Start", "changes", "changes_between", "plan"]
