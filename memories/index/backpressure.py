"""Backpressure: reject a tenant's writes while too many of its memories await indexing."""

from __future__ import annotations

import threading
from uuid import UUID

from cachetools import TTLCache
from django.conf import settings
from django.utils import timezone

from memories.index import generations
from memories.models import VectorEmbedding
from somamemory.errors import IndexBacklog
from tenants.models import Tenant

LOOK_AGAIN_S = 2.0

_full: TTLCache[UUID, bool] = TTLCache(maxsize=10_000, ttl=LOOK_AGAIN_S)
_lock = threading.Lock()


def check(tenant: Tenant) -> None:
    """Raise IndexBacklog if more than `MAX_BACKLOG` of the tenant's memories await indexing.

    Each process checks at most once every two seconds and reads no more rows than the limit. Rows for a generation
    that is still being built do not count.
    """
    with _lock:
        full = _full.get(tenant.id)
    if full is None:
        due = VectorEmbedding.objects.for_tenant(tenant).filter(
            generation=generations.active(), due_at__lte=timezone.now()
        )
        full = due.order_by().values_list("id")[settings.MAX_BACKLOG :].exists()
        with _lock:
            _full[tenant.id] = full
    if full:
        raise IndexBacklog(f"more than {settings.MAX_BACKLOG:,} of this tenant's memories await indexing; retry later")


def forget_cached() -> None:
    with _lock:
        _full.clear()
