"""Keep searches of SQLite's full-text index fast.

FTS5 writes the words of each transaction to a new segment of the index, and merges segments of about the same size, but
only four at a time. After many transactions, about 16 segments remain, and a search reads the entries for each term
from all of them. Merging two segments at a time leaves about three: with 100,000 memories, reading the matches for a
query then takes two thirds of the time.
"""

from __future__ import annotations

from django.db import connection, transaction

from somamemory.scheduling import ShouldStop, periodic

EVERY_S = 60.0
# The approximate number of pages that one step writes. On a slow machine, a step takes 10 ms, and writers have to wait
# for it.
PAGES = 32
MAX_STEPS = 500  # per run; the next run continues

_INDEX = "sfm_memory_terms_scoped"
_IS_SET = f"SELECT 1 FROM {_INDEX}_config WHERE k = 'usermerge' AND v = 2"  # noqa: S608 - constant
_SET = f"INSERT INTO {_INDEX}({_INDEX}, rank) VALUES ('usermerge', 2)"  # noqa: S608
_MERGE = f"INSERT INTO {_INDEX}({_INDEX}, rank) VALUES ('merge', {PAGES})"  # noqa: S608
_CHANGES = "SELECT total_changes()"


@periodic(
    "memories.merge_full_text",
    every_s=lambda: EVERY_S if connection.vendor == "sqlite" else 0,
    thread="maintenance",
    in_beat=False,
)
def merge(should_stop: ShouldStop = lambda: False) -> int:
    """Merge segments until nothing is left to merge. Return the number of steps."""
    for step in range(MAX_STEPS):
        if should_stop() or not _merge_some():
            return step
    return MAX_STEPS


def _merge_some() -> bool:
    """Merge a few pages in one transaction, and return whether there was anything to merge."""
    with transaction.atomic(), connection.cursor() as cursor:
        if not cursor.execute(_IS_SET).fetchone():
            cursor.execute(_SET)
        (before,) = cursor.execute(_CHANGES).fetchone()
        cursor.execute(_MERGE)
        (after,) = cursor.execute(_CHANGES).fetchone()
    # The statement itself counts as one change. See https://www.sqlite.org/fts5.html#the_merge_command.
    return bool(after - before > 1)
