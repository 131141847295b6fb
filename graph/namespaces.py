"""Rename and delete namespaces, with their memories and links.

Both are many transactions, so a namespace may have any size. If a request is interrupted, the same request continues.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.utils import timezone

from graph import retention, services
from graph.models import Link
from memories import deletion, namespaces, reserved_namespaces
from somamemory.errors import Conflict, NotFound
from tenants import audit
from tenants.caller import Caller

Progress = Callable[[], None]


@dataclass(frozen=True)
class Receipt:
    """What was renamed or deleted. The events in the audit log have the same `request_id`."""

    namespaces: list[str]
    memories: int
    links: int
    at: datetime
    request_id: str


def rename(caller: Caller, old: str, new: str, *, merge: bool = False, progress: Progress = lambda: None) -> Receipt:
    """Move the memories of a namespace, their history and their links to another namespace.

    merge: allows that `new` contains memories, at other addresses. Raises NotFound, Conflict.
    """
    for scope in ("read", "write"):
        caller.require(scope, [old, new])
    caller.require_unlimited()
    for name in (old, new):
        reserved_namespaces.check_writable(caller, name)
    if not merge and not _is_empty(caller, new):
        raise Conflict(
            f"namespace '{new}' is not empty; send merge: true to add to it, or to continue an interrupted rename"
        )
    if not merge and _is_empty(caller, old):
        raise NotFound(f"there is no namespace '{old}'")
    memories = links = 0
    while moved := namespaces.move_batch(caller, old, new):
        memories += moved
        progress()
    while moved := services.move_batch(caller, old, new):
        links += moved
        progress()
    receipt = Receipt([new], memories, links, timezone.now(), caller.request_id)
    return _recorded(caller, "namespace.rename", f"{old} -> {new}", new, receipt)


def delete(
    caller: Caller, name: str, *, below: bool = False, purge: bool = False, progress: Progress = lambda: None
) -> Receipt:
    """Delete the memories of a namespace, which can be restored for the retention period, or purge them with all links.

    below: also delete the namespaces that the name covers as a prefix. Raises NotFound.
    """
    for scope in ("read", "delete"):
        caller.require(scope, [name])
    caller.require_unlimited()
    reserved_namespaces.check_writable(caller, name)
    found = list(namespaces.below(caller, name)) if below else [name]
    if not below and _is_empty(caller, name):
        raise NotFound(f"there is no namespace '{name}'")
    memories = links = 0
    for namespace in found:
        reserved_namespaces.check_writable(caller, namespace)
        while gone := deletion.delete_batch(caller, namespace, purge=purge):
            memories += gone
            progress()
        while purge and (gone := retention.forget_batch(caller, namespace)):
            links += gone
            progress()
    receipt = Receipt(found, memories, links, timezone.now(), caller.request_id)
    return _recorded(caller, "namespace.purge" if purge else "namespace.delete", name, name, receipt)


def _is_empty(caller: Caller, namespace: str) -> bool:
    links = Link.objects.for_tenant(caller.tenant).filter(namespace=namespace)
    return namespaces.is_empty(caller, namespace) and not links.exists()


@transaction.atomic
def _recorded(caller: Caller, action: str, target: str, namespace: str, receipt: Receipt) -> Receipt:
    audit.record(caller, action, [f"{target}: {receipt.memories} memories, {receipt.links} links"], namespace)
    return receipt
