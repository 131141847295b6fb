"""A cache of memory ids by `seq`, for searches with filters on SQLite.

SQLite's full-text index returns `seq`, but the vector index needs ids. Reading an id from its row takes 1.2 µs, because
rows are large. Looking it up in this cache takes 0.04 µs.

Entries are never outdated, because a memory's `seq` and id never change, and SQLite does not reuse the `seq` of a
deleted memory. A migration that rebuilds the memories table must therefore preserve its row in `sqlite_sequence`.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence

import numpy as np
from django.db.backends.base.base import BaseDatabaseWrapper
from numpy.typing import NDArray

from memories.index.base import IdHalves, halves

SLOTS = 1 << 21  # an entry takes up 24 bytes, so the cache uses at most 48 MiB

_IDS = "SELECT seq, id FROM sfm_memories WHERE seq IN (SELECT value FROM json_each(%s))"

_lock = threading.Lock()
_slots: NDArray[np.uint64] | None = None  # `seq` and both halves of an id, in the slot number `seq` modulo `SLOTS`


def of(connection: BaseDatabaseWrapper, seqs: Sequence[int]) -> IdHalves:
    """Return the ids of these memories, in any order. Some of them may have been deleted."""
    wanted = np.array(seqs, np.uint64)
    with _lock:
        entries: NDArray[np.uint64] = _allocated()[wanted % np.uint64(SLOTS)]
    known = entries[:, 0] == wanted
    if known.all():
        return entries[:, 1:]
    return np.concatenate((entries[known, 1:], _read(connection, wanted[~known].tolist())))


def forget_cached() -> None:
    global _slots
    with _lock:
        _slots = None


def _read(connection: BaseDatabaseWrapper, seqs: Sequence[int]) -> IdHalves:
    with connection.cursor() as cursor:
        cursor.execute(_IDS, [json.dumps(seqs)])
        rows = cursor.fetchall()
    ids = halves([id for _, id in rows])
    if not connection.in_atomic_block:  # if the transaction is rolled back, SQLite reuses the `seq`
        found = np.array([seq for seq, _ in rows], np.uint64)
        with _lock:
            _allocated()[found % np.uint64(SLOTS)] = np.column_stack((found, ids))
    return ids


def _allocated() -> NDArray[np.uint64]:
    """Return the slots. Only those that have been written occupy memory."""
    global _slots
    if _slots is None:
        _slots = np.zeros((SLOTS, 3), np.uint64)
    return _slots
