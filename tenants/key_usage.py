"""Record when API keys were last used (to the hour), without a database write for each request.

A request adds its key to a buffer in the process, unless the key's last use is known to be less than an hour ago. A
background thread writes the buffer, so each key is written at most once an hour. If a process is killed, its buffer is
lost.
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
MAX_KEYS = 10_000  # maximum number of keys in the buffer

_lock = threading.Lock()
_unwritten: dict[UUID, datetime] = {}
_written: dict[UUID, datetime] = {}


def record(key: ApiKey, now: datetime) -> None:
    """Record that a request used a key."""
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
    """Write the buffer, and return how many keys were updated. After an error, the next call retries."""
    with _lock:
        batch = dict(_unwritten)
        _unwritten.clear()
        for key in [key for key, at in _written.items() if at <= timezone.now() - PRECISION]:
            del _written[key]
    if not batch:
        return 0
    at = max(batch.values())
    unknown = Q(last_used_at=None) | Q(last_used_at__lte=at - PRECISION)
    try:
        updated = ApiKey.objects.filter(unknown, id__among=list(batch)).update(last_used_at=at)
    except DatabaseError:
        with _lock:
            _unwritten.update(batch)
        raise
    with _lock:
        _written.update(dict.fromkeys(batch, at))
    return updated


def forget() -> None:
    """Clear this process's buffer."""
    with _lock:
        _unwritten.clear()
        _written.clear()
