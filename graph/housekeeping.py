"""What ends with a memory: the links of its address.

An address holds one memory at most, so a purge (by a caller, or after the retention time) leaves it empty, and its
links, from it and to it, go in the same transaction. A soft delete keeps them: a restored memory is linked as before.
Links of addresses that never held a memory stay until somebody removes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from django.db.models import Q

from graph.conditions import Among
from graph.models import Link
from memories.models import Memory

_BATCH = 500


def forget(purged: Sequence[Memory]) -> None:
    """Remove the links of these memories' addresses. Runs inside the transaction of their purge."""
    keys: dict[tuple[UUID, str], list[tuple[str]]] = {}
    for memory in purged:
        keys.setdefault((memory.tenant_id, memory.namespace), []).append((memory.coordinate_key,))
    for (tenant_id, namespace), rows in keys.items():
        links = Link.all_tenants.filter(tenant_id=tenant_id, namespace=namespace)
        touching = links.filter(Q(Among(["from_key"], rows)) | Q(Among(["to_key"], rows)))
        # Locked in the order in which everybody locks them: two purges may share links, and links are made meanwhile.
        locked = touching.select_for_update().order_by("from_key", "to_key", "link_type").values_list("id", flat=True)
        ids = list(locked)
        for start in range(0, len(ids), _BATCH):
            links.filter(id__in=ids[start : start + _BATCH]).delete()
