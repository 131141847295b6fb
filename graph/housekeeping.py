"""What ends with a memory: the links of its address.

An address holds one memory at most, so a purge (by a caller, or after the retention time) leaves it empty, and its
links, from it and to it, go in the same transaction. A soft delete keeps them: a restored memory is linked as before.
Links of addresses that never held a memory stay until somebody removes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from graph.conditions import Among
from graph.models import Link
from memories.models import Memory


def forget(purged: Sequence[Memory]) -> None:
    """Remove the links of these memories' addresses. Runs inside the transaction of their purge."""
    keys: dict[tuple[UUID, str], list[tuple[str]]] = {}
    for memory in purged:
        keys.setdefault((memory.tenant_id, memory.namespace), []).append((memory.coordinate_key,))
    for (tenant_id, namespace), rows in keys.items():
        links = Link.all_tenants.filter(tenant_id=tenant_id, namespace=namespace)
        for column in ("from_key", "to_key"):
            links.filter(Among([column], rows)).delete()
