"""Remove an address's links together with its memory.

There is at most one memory at an address, so a purge (by a caller, or after the retention period) leaves the address
empty, and its links in both directions are removed in the same transaction. A soft delete keeps them, so a restored
memory has the same links as before. If an address has never had a memory, its links stay until they are removed
explicitly. A purge also removes the links' history.
"""

from __future__ import annotations

from collections.abc import Sequence

from django.db.models import Q

from graph import audit_state, link_history
from graph.models import Link, LinkVersion
from memories.coordinates import Coordinate
from memories.models import Memory
from somamemory.db.collisions import retrying
from tenants import audit, usage
from tenants.caller import Caller

_BATCH = 500


def forget(caller: Caller, removed: Sequence[Memory]) -> None:
    """Remove the links to and from these memories' addresses, in the transaction that removes the memories."""
    keys: dict[str, list[str]] = {}
    for memory in removed:
        keys.setdefault(memory.namespace, []).append(memory.coordinate_key)
    for namespace, of_memories in sorted(keys.items()):  # in the order in which `services` locks links
        touching = Q(from_key__among=of_memories) | Q(to_key__among=of_memories)
        _remove(caller, namespace, touching)
        link_history.forget(caller, namespace, touching)


def forget_subtree(caller: Caller, namespace: str, root: Coordinate) -> None:
    """Remove the links to and from an address and all addresses below it, including addresses without a memory.

    Must be called in a transaction.
    """
    low, high = root.subtree
    touching = Q(from_key__gte=low, from_key__lt=high) | Q(to_key__gte=low, to_key__lt=high)
    _remove(caller, namespace, touching)
    link_history.forget(caller, namespace, touching)


def forget_batch(caller: Caller, namespace: str) -> int:
    """Remove up to 500 links from a namespace in one transaction, and return how many were removed."""
    links = Link.objects.for_tenant(caller.tenant).filter(namespace=namespace)
    ids = list(links.order_by("from_key", "to_key", "link_type").values_list("id", flat=True)[:_BATCH])
    retrying(lambda: _remove(caller, namespace, Q(id__among=ids)))
    return len(ids)


def set_user(caller: Caller, namespace: str, root: Coordinate, user_id: str | None) -> None:
    """Set the user of the links that begin at an address or below it. Must be called in a transaction."""
    low, high = root.subtree
    for model in (Link, LinkVersion):
        links = model.objects.for_tenant(caller.tenant).filter(namespace=namespace)
        links.filter(from_key__gte=low, from_key__lt=high).update(user_id=user_id)


def _remove(caller: Caller, namespace: str, touching: Q) -> None:
    links = Link.objects.for_tenant(caller.tenant).filter(namespace=namespace)
    # Rows are locked in the same order as everywhere else, to avoid deadlocks: two purges can have links in common, and
    # new links may be created at the same time.
    in_order = links.order_by("from_key", "to_key", "link_type")
    ids = list(in_order.filter(touching).select_for_update().values_list("id", flat=True))
    for start in range(0, len(ids), _BATCH):
        batch = in_order.filter(id__among=ids[start : start + _BATCH])
        audit.record(caller, "graph.unlink", [audit_state.removed(link) for link in batch], namespace)
        usage.add(caller.tenant, 0, -sum(link.bytes for link in batch))
        batch.delete()
