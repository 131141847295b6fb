"""Links as they were at an earlier time (`as_of`).

When a link is replaced or removed, the old link is kept as a version in the same transaction. A version was current
from its `updated_at` to `until`. The links of purged memories are also removed from the history.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from django.db.models import Q, QuerySet

from graph.models import Link, LinkVersion
from memories import history, point_in_time
from somamemory.db.collisions import retrying
from tenants.caller import Caller

BATCH = 500
_COLUMNS = [field.attname for field in Link._meta.concrete_fields if not field.primary_key]


def keep(links: Iterable[tuple[Link, datetime]]) -> None:
    """Record the link in each (link, until) pair as a version that was current until `until`.

    Must be called in the transaction that replaces or removes the links.
    """
    LinkVersion.all_tenants.bulk_create(
        [LinkVersion(**{name: getattr(link, name) for name in _COLUMNS}, until=until) for link, until in links]
    )


def at(caller: Caller, namespace: str, moment: datetime) -> list[QuerySet[Any]]:
    """Return queries for the links and the link versions that were current at a given time.

    Raises InvalidInput if the time is in the future, and HistoryGone if it is before the tenant's history begins.
    """
    caller.require("read", [namespace])
    point_in_time.check(caller.tenant, moment)
    current = Link.objects.for_tenant(caller.tenant).filter(namespace=namespace, updated_at__lte=moment)
    return [current, _versions(caller, namespace).filter(updated_at__lte=moment, until__gt=moment)]


def move_batch(caller: Caller, old: str, new: str) -> int:
    """Move up to 500 earlier link versions to another namespace, and return how many were moved."""
    ids = _first_ids(caller, old)
    versions = LinkVersion.objects.for_tenant(caller.tenant).filter(id__among=ids)
    retrying(lambda: versions.update(namespace=new))
    return len(ids)


def forget_batch(caller: Caller, namespace: str) -> int:
    """Remove up to 500 earlier link versions from a namespace, and return how many were removed."""
    ids = _first_ids(caller, namespace)
    retrying(lambda: forget(caller, namespace, Q(id__among=ids)))
    return len(ids)


def forget(caller: Caller, namespace: str, touching: Q) -> None:
    """Remove the earlier link versions that match a condition. Must be called in a transaction."""
    history.remove(caller.tenant, _versions(caller, namespace).filter(touching), "bytes")


def _versions(caller: Caller, namespace: str) -> QuerySet[LinkVersion]:
    versions: QuerySet[LinkVersion] = LinkVersion.objects.for_tenant(caller.tenant).filter(namespace=namespace)
    return versions


def _first_ids(caller: Caller, namespace: str) -> Sequence[int]:
    return list(_versions(caller, namespace).order_by("id").values_list("id", flat=True)[:BATCH])
