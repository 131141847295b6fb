"""Record how often each memory has been read, and when it was last read, without a write per read.

Each read increments a counter in this process. Without Redis, a thread writes the counts to the database every few
seconds. With Redis, a thread adds them to shared totals every second, and a periodic task writes the totals to the
database.

Counts that are not yet in the database are lost if the process or Redis dies. A process loses at most the counts from
the last second or, without Redis, from the last `SOMA_ACCESS_INTERVAL_S`; Redis loses at most those from the last
`SOMA_ACCESS_INTERVAL_S`. If the connection to Redis breaks, one batch may be counted twice. Memory use is bounded: once
`MAX_MEMORIES` memories have counts, reads of other memories are not counted until the next write-back.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.conf import settings
from django.db import DatabaseError, connection, transaction

from memories.models import Memory
from somamemory import caching
from somamemory.scheduling import periodic

if TYPE_CHECKING:
    from redis import Redis

MAX_MEMORIES = 20_000  # the maximum number of memories that one process counts; Redis holds up to twice that number
FLUSH_S = 1.0
BATCH = 500
_TIMES, _LAST = "soma:1:access:times", "soma:1:access:last"

# The number of reads since the last write-back, and the time of the last read (in seconds since 1970), by memory id.
Counts = dict[UUID, tuple[int, float]]

_lock = threading.Lock()
_counted: Counts = {}


def count(memories: Iterable[Memory]) -> None:
    """Count one read of each of these memories. Takes about a microsecond per memory."""
    now = time.time()
    _add({memory.id: (1, now) for memory in memories})


@periodic(
    "memories.flush_read_counts",
    every_s=lambda: FLUSH_S,
    thread="read-counts",
    in_process=caching.shared,
    in_beat=False,
    at_stop=True,
)
def flush() -> None:
    """Add this process's counts to Redis, or keep them while Redis is unreachable or full."""
    if counts := _take():
        accepted = caching.with_redis(lambda redis: _into_redis(redis, counts))
        if not accepted:
            _add(counts)


def _writes_back_itself() -> bool:
    """Return whether this process, instead of a Celery worker, writes its counts to the database."""
    return not (caching.shared() and settings.INDEXER == "celery")


@periodic(
    "memories.write_back_accesses",
    every_s=lambda: settings.ACCESS_INTERVAL_S,
    thread="read-counts",
    in_process=_writes_back_itself,
    at_stop=True,
)
def write_back() -> int:
    """Write this process's counts and those in Redis to the database, and return how many memories were updated.

    Counts for rows that a writer has locked, and batches that the database rejects, are kept for the next write-back.
    """
    counts = _take()
    if caching.shared():
        _merge(counts, caching.with_redis(_out_of_redis) or {})
    written, left = 0, iter(counts.items())
    while batch := dict(islice(left, BATCH)):
        try:
            written += _update(batch)
        except DatabaseError:
            _add(batch | dict(left))
            raise
    return written


def _add(counts: Mapping[UUID, tuple[int, float]]) -> None:
    with _lock:
        _merge(_counted, counts)


def _merge(into: Counts, counts: Mapping[UUID, tuple[int, float]]) -> None:
    for id, (times, last) in counts.items():
        known = into.get(id)
        if known is not None:
            into[id] = (known[0] + times, max(known[1], last))
        elif len(into) < MAX_MEMORIES:
            into[id] = (times, last)


def _take() -> Counts:
    with _lock:
        taken = dict(_counted)
        _counted.clear()
    return taken


def _into_redis(redis: Redis, counts: Counts) -> bool:
    """Add the counts to Redis, and return whether there was enough room."""
    if redis.hlen(_TIMES) + len(counts) > 2 * MAX_MEMORIES:
        return False
    with redis.pipeline(transaction=True) as together:
        for id, (times, last) in counts.items():
            together.hincrby(_TIMES, id.hex, times)
            together.hset(_LAST, id.hex, repr(last))
        together.execute()
    return True


def _out_of_redis(redis: Redis) -> Counts:
    """Remove all counts from Redis, and return them. If two processes do so at once, one of them gets nothing."""
    with redis.pipeline(transaction=True) as together:
        together.hgetall(_TIMES)
        together.hgetall(_LAST)
        together.delete(_TIMES, _LAST)
        times, last, _ = together.execute()
    return {UUID(id.decode()): (int(many), float(last[id])) for id, many in times.items() if id in last}


def _update(counts: Counts) -> int:
    """Update the rows that are not locked, and keep the counts of the others. Return how many rows were updated.

    Waiting for a writer that locks many rows could cause a deadlock.
    """
    with transaction.atomic():
        rows = Memory.all_tenants.filter(id__among=list(counts))
        free = set(rows.select_for_update(skip_locked=True, no_key=True).values_list("id", flat=True))
        if free:
            with connection.cursor() as cursor:
                cursor.execute(_statement(len(free)), list(_parameters(counts, free)))
    if len(free) < len(counts):
        held = set(rows.exclude(id__among=free).values_list("id", flat=True))  # the others have been purged
        _add({id: counts[id] for id in held})
    return len(free)


def _statement(rows: int) -> str:
    """Return the statement that updates this many rows.

    It changes neither `version` nor `updated_at`. It sets no indexed column, so no index changes.
    """
    if connection.vendor == "postgresql":
        row, latest = "(%s::uuid, %s::bigint, %s::timestamptz)", "GREATEST(sfm_memories.last_accessed_at, seen.at)"
    else:
        row, latest = "(%s, %s, %s)", "MAX(COALESCE(sfm_memories.last_accessed_at, seen.at), seen.at)"
    return f"""
        WITH seen(id, times, at) AS (VALUES {", ".join([row] * rows)})
        UPDATE sfm_memories
        SET access_count = sfm_memories.access_count + seen.times, last_accessed_at = {latest}
        FROM seen WHERE sfm_memories.id = seen.id
    """  # noqa: S608 - contains only placeholders


def _parameters(counts: Counts, ids: Iterable[UUID]) -> Iterator[Any]:
    for id in ids:
        times, last = counts[id]
        yield id if connection.features.has_native_uuid_field else id.hex
        yield times
        yield connection.ops.adapt_datetimefield_value(datetime.fromtimestamp(last, UTC))
