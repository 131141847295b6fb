"""Cache for conversations and for pages of conversation lists.

An entry contains the stamp that was current when it was created, and is valid only while that stamp is current. Every
write renews the stamp after it commits, so a slow reader cannot leave an outdated entry behind. Nothing is cached
inside a transaction, because the transaction may be rolled back.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from functools import partial
from typing import Any

from django.conf import settings
from django.db import transaction

from somamemory import caching
from somamemory.db import replicas
from tenants.models import Tenant

CONVERSATION_S = 3600.0
LIST_S = 10.0
UNSHARED_S = 10.0  # without a shared cache, changes by management commands become visible after this time
# Longer than the lifetime of any entry.
_STAMP_S = 2 * CONVERSATION_S
_LISTS = "lists"


def conversation(tenant: Tenant, id: uuid.UUID, read: Callable[[], Any]) -> Any:
    """Return a conversation's fields, from the cache if possible.

    read: returns the fields as JSON values. It is called if they are not in the cache.
    """
    return _cached(tenant, str(id), str(id), read, CONVERSATION_S)


def page(tenant: Tenant, query: str, read: Callable[[], Any]) -> Any:
    """Return the result of a query over a tenant's conversations, from the cache if possible."""
    return _cached(tenant, _LISTS, query, read, LIST_S)


def forget_on_commit(tenant: Tenant, id: uuid.UUID) -> None:
    """When this transaction commits, invalidate the entries for all lists and for a conversation that it changed."""
    transaction.on_commit(partial(_forget, tenant, id))


def _forget(tenant: Tenant, id: uuid.UUID) -> None:
    stamps: dict[tuple[object, ...], object] = {
        ("stamp", str(id)): uuid.uuid4().hex,
        ("stamp", _LISTS): uuid.uuid4().hex,
    }
    caching.set_many(tenant.id, "conversations", stamps, _STAMP_S)


def _cached(tenant: Tenant, subject: str, query: str, read: Callable[[], Any], lifetime_s: float) -> Any:
    if transaction.get_connection().in_atomic_block or not _sees_all_writes():
        return read()
    stamp_key, entry_key = ("stamp", subject), ("entry", query, *filter(None, [tenant.only_user]))
    cached = caching.get_many(tenant.id, "conversations", [stamp_key, entry_key])
    stamp, entry = cached.get(stamp_key), cached.get(entry_key)
    if stamp is not None and entry is not None and entry[0] == stamp:
        return entry[1]
    if stamp is None:
        stamp = uuid.uuid4().hex
        caching.set(tenant.id, "conversations", *stamp_key, value=stamp, lifetime_s=_STAMP_S)
    with replicas.from_primary():
        value = read()
    if not caching.shared():
        lifetime_s = min(lifetime_s, UNSHARED_S)
    if value is not None:  # do not cache misses, or requests for random ids would fill the cache
        caching.set(tenant.id, "conversations", *entry_key, value=[stamp, value], lifetime_s=lifetime_s)
    return value


def _sees_all_writes() -> bool:
    """Return whether this cache sees writes by every process. Without Redis, it sees only this process's writes."""
    one_process = settings.WORKERS == 1 and settings.INDEXER != "celery"
    return caching.shared() or one_process
