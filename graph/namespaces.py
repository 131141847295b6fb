"""Rename and delete namespaces, including their memories and links.

Both operations use many transactions, so there is no limit to the size of a namespace. To continue after an
interruption, send the request again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from django.db import transaction
from django.utils import timezone

from graph import link_history, retention, services
from graph.models import Link, LinkVersion
from memories import deletion, namespaces, reserved_namespaces
from somamemory.errors import Conflict, InvalidInput, NotFound
from tenants import audit
from tenants.caller import Caller

Progress = Callable[[], None]


@dataclass(frozen=True)
class Receipt:
    """The result of renaming or deleting a namespace. `request_id` identifies its events in the audit log."""

    namespaces: list[str]
    memories: int
    links: int
    at: datetime
    request_id: str


def rename(caller: Caller, old: str, new: str, *, merge: bool = False, progress: Progress = lambda: None) -> Receipt:
    """Move a namespace's memories, with their history and links, to another namespace.

    merge: allow `new` to contain links, and memories at other addresses. If both namespaces have the same link,
        the one in `new` is kept. The same applies to earlier versions of a link that were current at the same time.
    Raises Conflict if a memory's address is already taken in `new`. Without `merge`, also raises Conflict if `new` is
    not empty, and NotFound if `old` is empty.
    """
    _require(caller, "write", [old, new])
    if old == new:
        raise InvalidInput("to", "must be different from namespace")
    if not merge:
        _require_move(caller, old, new)
    memories = links = 0
    while moved := namespaces.move_batch(caller, old, new):
        memories += moved
        progress()
    while moved := services.move_batch(caller, old, new):
        links += moved
        progress()
    while link_history.move_batch(caller, old, new):
        progress()
    receipt = Receipt([new], memories, links, timezone.now(), caller.request_id)
    return _recorded(caller, "namespace.rename", f"{old} -> {new}", new, receipt)


def delete(
    caller: Caller, name: str, *, below: bool = False, purge: bool = False, progress: Progress = lambda: None
) -> Receipt:
    """Delete the memories in a namespace, or purge them together with all links.

    Deleted memories can be restored until the retention period ends; purged memories cannot.

    below: also delete the namespaces below this one, such as `a/b` below `a`.
    Raises NotFound if the namespace is empty, unless `below` is set.
    """
    _require(caller, "delete", [name])
    found = _below(caller, name, purge) if below else [name]
    _require(caller, "delete", found)
    if not below and _is_empty(caller, name) and not (purge and _has_link_history(caller, name)):
        raise _not_found(name)
    memories = links = 0
    for namespace in found:
        while gone := deletion.delete_batch(caller, namespace, purge=purge):
            memories += gone
            progress()
        while purge and (gone := retention.forget_batch(caller, namespace)):
            links += gone
            progress()
        while purge and link_history.forget_batch(caller, namespace):
            progress()
    receipt = Receipt(found, memories, links, timezone.now(), caller.request_id)
    return _recorded(caller, "namespace.purge" if purge else "namespace.delete", name, name, receipt)


def _below(caller: Caller, name: str, purge: bool) -> list[str]:
    """Return the namespaces to delete, sorted. A purge includes namespaces that contain only links or link history."""
    found = set(namespaces.below(caller, name))
    for model in (Link, LinkVersion) if purge else ():
        found.update(islice(namespaces.names_in(caller, model, name), namespaces.MAX_BELOW + 1))
    if len(found) > namespaces.MAX_BELOW:
        raise namespaces.too_many_below()
    return sorted(found)


def _require(caller: Caller, scope: str, names: list[str]) -> None:
    """Raise Forbidden or InvalidInput unless the caller can change these namespaces and count their contents."""
    for needed in ("read", scope):
        caller.require(needed, names)
    caller.require_unlimited()
    for name in names:
        reserved_namespaces.check_writable(caller, name)


def _require_move(caller: Caller, old: str, new: str) -> None:
    """Raise Conflict if the new namespace is not empty, or NotFound if the old one is."""
    if not _is_empty(caller, new):
        raise Conflict(
            f"namespace '{new}' is not empty; send merge: true to add to it, or to continue an interrupted rename"
        )
    if _is_empty(caller, old):
        raise _not_found(old)


def _not_found(name: str) -> NotFound:
    return NotFound(f"there is no namespace '{name}'")


def _is_empty(caller: Caller, namespace: str) -> bool:
    links = Link.objects.for_tenant(caller.tenant).filter(namespace=namespace)
    return namespaces.is_empty(caller, namespace) and not links.exists()


def _has_link_history(caller: Caller, namespace: str) -> bool:
    return LinkVersion.objects.for_tenant(caller.tenant).filter(namespace=namespace).exists()


@transaction.atomic
def _recorded(caller: Caller, action: str, target: str, namespace: str, receipt: Receipt) -> Receipt:
    audit.record(caller, action, [f"{target}: {receipt.memories} memories, {receipt.links} links"], namespace)
    return receipt
