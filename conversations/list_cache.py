"""What conversations look like, remembered for those who ask again.

An entry is good only beside the stamp it was made under, and a write renews the stamp once it is committed. So a reader
that was slower than a write leaves nothing behind that anybody would take for true. Nothing is remembered inside of a
transaction, whose reads may never come true.
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
ALONE_S = 10.0  # where a command's changes are not noticed
# Longer than any entry lives.
_STAMP_S = 2 * CONVERSATION_S
_LISTS = "lists"


def conversation(tenant: Tenant, id: uuid.UUID, read: Callable[[], Any]) -> Any:
    """The facts of one conversation; `read` gives them, as JSON can say them, where they are not known."""
    return _remembered(tenant, str(id), str(id), read, CONVERSATION_S)


def listed(tenant: Tenant, question: str, read: Callable[[], Any]) -> Any:
    """The answer to a question about all of a tenant's conversations."""
    return _remembered(tenant, _LISTS, question, read, LIST_S)


def forget_on_commit(tenant: Tenant, id: uuid.UUID) -> None:
    """The conversation changes in this transaction."""
    transaction.on_commit(partial(_forget, tenant, id))


def _forget(tenant: Tenant, id: uuid.UUID) -> None:
    stamps: dict[tuple[object, ...], object] = {
        ("stamp", str(id)): uuid.uuid4().hex,
        ("stamp", _LISTS): uuid.uuid4().hex,
    }
    caching.set_many(tenant.id, "conversations", stamps, _STAMP_S)


def _remembered(tenant: Tenant, about: str, question: str, read: Callable[[], Any], lifetime_s: float) -> Any:
    # Without a Redis, what another process writes would not be noticed here.
    one_process = settings.WORKERS == 1 and settings.INDEXER != "celery"
    if transaction.get_connection().in_atomic_block or not (caching.shared() or one_process):
        return read()
    stamp_at, entry_at = ("stamp", about), ("entry", question)
    known = caching.get_many(tenant.id, "conversations", [stamp_at, entry_at])
    stamp, entry = known.get(stamp_at), known.get(entry_at)
    if stamp is not None and entry is not None and entry[0] == stamp:
        return entry[1]
    if stamp is None:
        stamp = uuid.uuid4().hex
        caching.set(tenant.id, "conversations", *stamp_at, value=stamp, lifetime_s=_STAMP_S)
    with replicas.from_primary():
        value = read()
    if not caching.shared():
        lifetime_s = min(lifetime_s, ALONE_S)
    if value is not None:  # anybody can ask for ids that nothing has
        caching.set(tenant.id, "conversations", *entry_at, value=[stamp, value], lifetime_s=lifetime_s)
    return value
