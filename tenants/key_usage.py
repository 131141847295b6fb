"""When API keys were last used, to the hour, without a write per request.

A request notes its key in the memory of the process, unless the key's last use is known to be less than an hour ago. A
thread writes the notes outside of all requests, so there is at most one write for each key and hour. The notes of a
process that is killed are lost.
"""

from __future__ import annotations

import threading
from datetime import datetime, timedelta
from uuid import UUID

from django.db import DatabaseError
from django.db.models import Q
from django.utils import timezone

from somamemory.scheduling import periodic
from tenants.models import ApiKey

PRECISION = timedelta(hours=1)
FLUSH_S = 5.0
MAX_KEYS = 10_000  # in the memory of a process

_lock = threading.Lock()
_unwritten: dict[UUID, datetime] = {}
_written: dict[UUID, datetime] = {}


def note(key: ApiKey, now: datetime) -> None:
    """Note that a request has used a key."""
    last = key.last_used_at
    if last is not None and last > now - PRECISION:
        return
    with _lock:
        known = _unwritten.get(key.id) or _written.get(key.id)
        if (known is None or known <= now - PRECISION) and len(_unwritten) < MAX_KEYS:
            _unwritten[key.id] = now


@periodic(
    "tenants.flush_key_usage",
    every_s=lambda: FLUSH_S,
    thread="maintenance",
    in_process=lambda: True,
    in_beat=False,
    at_stop=True,
)
def flush() -> int:
    """Write the notes of this process, and return how many keys were updated. After an error, the next one retries."""
    with _lock:
        taken = dict(_unwritten)
        _unwritten.clear()
        for key in [key for key, at in _written.items() if at <= timezone.now() - PRECISION]:
            del _written[key]
    if not taken:
        return 0
    at = max(taken.values())
    unknown = Q(last_used_at=None) | Q(last_used_at__lte=at - PRECISION)
    try:
        updated = ApiKey.objects.filter(unknown, id__in=list(taken)).update(last_used_at=at)
    except DatabaseError:
        with _lock:
            _unwritten.update(taken)
        raise
    with _lock:
        _written.update(dict.fromkeys(taken, at))
    return updated


def forget() -> None:
    """Drop the notes of this process."""
    with _lock:
        _unwritten.clear()
        _written.clear()
