"""A cache of the ids of memories by `seq`. Neither of them ever changes, so no entry can become outdated.

SQLite's full-text index returns `seq`, but the vector index needs ids. Reading an id from its row takes 1.2 µs, because
rows are large. Looking it up in this cache takes 0.04 µs. Entries of deleted memories remain, so callers must confirm
the ids in the database.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence

import numpy as np
from django.db.backends.base.base import BaseDatabaseWrapper

from memories.index.base import IdHalves, halves

MOST = 1 << 22  # memories with a greater `seq` are not cached, so the cache takes at most 64 MiB

_IDS = "SELECT seq, id FROM sfm_memories WHERE seq IN (SELECT value FROM json_each(%s))"

_lock = threading.Lock()
_known: IdHalves | None = None


def of(connection: BaseDatabaseWrapper, seqs: Sequence[int]) -> IdHalves:
    """Return the ids of the memories that exist, in any order. For SQLite only."""
    wanted = np.array(seqs, np.int64)
    fits = wanted < MOST
    with _lock:
        found = _table()[wanted[fits]]
    is_known = found.any(axis=1)
    if is_known.all() and fits.all():
        return found
    missing = np.concatenate((wanted[fits][~is_known], wanted[~fits]))
    return np.concatenate((found[is_known], _read(connection, missing.tolist())))


def forget_cached() -> None:
    global _known
    with _lock:
        _known = None


def _read(connection: BaseDatabaseWrapper, seqs: Sequence[int]) -> IdHalves:
    with connection.cursor() as cursor:
        cursor.execute(_IDS, [json.dumps(seqs)])
        rows = cursor.fetchall()
    read = halves([id for _, id in rows])
    if not connection.in_atomic_block:  # after a rollback, SQLite uses the same `seq` again
        found = np.array([seq for seq, _ in rows], np.int64)
        fits = found < MOST
        with _lock:
            _table()[found[fits]] = read[fits]
    return read


def _table() -> IdHalves:
    """Return the table of ids. The operating system provides memory only for the pages that are written."""
    global _known
    if _known is None:
        _known = np.zeros((MOST, 2), np.uint64)
    return _known
