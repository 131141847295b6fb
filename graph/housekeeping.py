"""What ends with a memory: the links of its address.

An address holds one memory at most, so a purge (by a caller, or after the retention time) leaves it empty, and its
links, from it and to it, go in the same transaction. A soft delete keeps them: a restored memory is linked as before.
Links of addresses that never held a memory stay until somebody removes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from django.db.models import Q, QuerySet

from graph.conditions import Among
from graph.models import Link
from memories.coordinates import Coordinate
from memories.models import Memory
from tenants.models import Tenant

_BATCH = 500


def forget(purged: Sequence[Memory]) -> None:
    """Remove the links of these memories' addresses. Runs inside the transaction of their purge."""
    keys: dict[tuple[UUID, str], list[tuple[str]]] = {}
    for memory in purged:
        keys.setdefault((memory.tenant_id, memory.namespace), []).append((memory.coordinate_key,))
    for (tenant_id, namespace), rows in keys.items():
        links = Link.all_tenants.filter(tenant_id=tenant_id, namespace=namespace)
        _remove(links, Q(Among(["from_key"], rows)) | Q(Among(["to_key"], rows)))


def forget_subtree(tenant: Tenant, namespace: str, root: Coordinate) -> None:
    """Remove the links of an address and of all below it, whether or not memories were there. Needs a transaction."""
    low, high = root.subtree
    links = Link.objects.for_tenant(tenant).filter(namespace=namespace)
    _remove(links, Q(from_key__gte=low, from_key__lt=high) | Q(to_key__gte=low, to_key__lt=high))


def _remove(links: QuerySet[Link], touching: Q) -> None:
    # Locked in the order in which everybody locks them: two purges may share links, and links are made meanwhile.
    locked = links.filter(touching).select_for_update().order_by("from_key", "to_key", "link_type")
    ids = list(locked.values_list("id", flat=True))
    for start in range(0, len(ids), _BATCH):
        links.filter(id__in=ids[start : start + _BATCH]).delete()
