"""What was done: one row a change, in the transaction of the change."""

from __future__ import annotations

from collections.abc import Iterable

from django.db import connection

from somamemory import replicas
from tenants.caller import Caller
from tenants.models import AuditEvent

_TARGET_LENGTH = 2048


def record(caller: Caller, action: str, targets: Iterable[str], namespace: str = "") -> None:
    """Note that `caller` did `action` to each of `targets`. Must run inside the transaction that did it."""
    if not connection.in_atomic_block:
        raise RuntimeError("an audit row belongs into the transaction of its change")
    AuditEvent.objects.bulk_create(
        AuditEvent(
            tenant=caller.tenant,
            actor=caller.actor,
            action=action,
            namespace=namespace,
            target=target[:_TARGET_LENGTH],
            request_id=caller.request_id,
        )
        for target in targets
    )
    replicas.wrote(caller)
