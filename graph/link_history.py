"""Links as they were at an earlier time (`as_of`).

When a link is replaced or removed, the old link is kept as a version in the same transaction. A version was current
from its `updated_at` to `until`. The links of purged memories are also removed from the history.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from django.db.models import Max, Q, QuerySet

from graph.models import IDENTITY, Key, Link, LinkVersion
from graph.query_conditions import RowAmong
from memories import history, point_in_time
from somamemory.db.collisions import retrying
from tenants import usage
from tenants.caller import Caller

Period = tuple[datetime, datetime]  # the second time is not in the period
BATCH = 500
_COLUMNS = [field.attname for field in Link._meta.concrete_fields if not field.primary_key]


def keep(links: Iterable[tuple[Link, datetime]]) -> None:
    """Record the link in each (link, until) pair as a version that was current until `until`.

    Must be called in the transaction that replaces or removes the links.
    """
    LinkVersion.all_tenants.bulk_create([_version(link, until=until) for link, until in links])


def at(caller: Caller, namespace: str, moment: datetime) -> list[QuerySet[Any]]:
    """Return queries for the links and the link versions that were current at a given time.

    Raises InvalidInput if the time is in the future, and HistoryGone if it is before the tenant's history begins.
    """
    caller.require("read", [namespace])
    point_in_time.check(caller.tenant, moment)
    current = Link.objects.for_tenant(caller.tenant).filter(namespace=namespace, updated_at__lte=moment)
    return [current, _versions(caller, namespace).filter(updated_at__lte=moment, until__gt=moment)]


def move_batch(caller: Caller, old: str, new: str) -> int:
    """Move up to 500 earlier link versions to another namespace, and return how many were moved.

    If both namespaces had the same link at the same time, the one in `new` stays in the history, and the moved version
    keeps only the parts of its period in which `new` did not have the link.
    """
    return retrying(lambda: _move(caller, old, new))


def last_ends(caller: Caller, namespace: str, keys: Collection[Key]) -> dict[Key, datetime]:
    """Return when the last earlier version of each of these links ended. Links without one are left out."""
    versions = _versions(caller, namespace).filter(RowAmong(IDENTITY, keys)).values_list(*IDENTITY)
    return {
        (start, target, link_type): last
        for start, target, link_type, last in versions.annotate(last=Max("until")).order_by()
    }


def forget_batch(caller: Caller, namespace: str) -> int:
    """Remove up to 500 earlier link versions from a namespace, and return how many were removed."""
    ids = _first_ids(caller, namespace)
    retrying(lambda: forget(caller, namespace, Q(id__among=ids)))
    return len(ids)


def forget(caller: Caller, namespace: str, touching: Q) -> None:
    """Remove the earlier link versions that match a condition. Must be called in a transaction."""
    history.remove(caller.tenant, _versions(caller, namespace).filter(touching), "bytes")


def _move(caller: Caller, old: str, new: str) -> int:
    versions = _versions(caller, old)
    batch = list(versions.order_by(*IDENTITY, "until").defer("metadata").select_for_update()[:BATCH])
    if not batch:
        return 0
    taken = _periods(caller, new, batch)
    free = {version: list(_outside(taken[version.key], version.updated_at, version.until)) for version in batch}
    cut = [version for version in batch if free[version] != [(version.updated_at, version.until)]]
    parts = [
        _version(version, namespace=new, updated_at=begin, until=end) for version in cut for begin, end in free[version]
    ]
    history.remove(caller.tenant, versions.filter(id__among=[version.id for version in cut]), "bytes")
    versions.filter(id__among=[version.id for version in batch]).update(namespace=new)
    LinkVersion.all_tenants.bulk_create(parts)
    usage.add(caller.tenant, 0, sum(part.bytes for part in parts), enforced=False)
    return len(batch)


def _periods(caller: Caller, namespace: str, batch: Sequence[LinkVersion]) -> dict[Key, list[Period]]:
    """Return the periods, in order, in which a namespace had the links of these versions."""
    begin, end = min(version.updated_at for version in batch), max(version.until for version in batch)
    same = RowAmong(IDENTITY, {version.key for version in batch})
    versions = _versions(caller, namespace).filter(same, updated_at__lt=end, until__gt=begin)
    links = Link.objects.for_tenant(caller.tenant).filter(same, namespace=namespace, updated_at__lt=end)
    # Read first: if a link is replaced in the meantime, its period is read twice, rather than not at all.
    current = list(links.values_list(*IDENTITY, "updated_at"))
    periods: dict[Key, list[Period]] = {version.key: [] for version in batch}
    for start, target, link_type, *period in versions.order_by("until").values_list(*IDENTITY, "updated_at", "until"):
        periods[start, target, link_type].append((period[0], period[1]))
    for start, target, link_type, since in current:
        periods[start, target, link_type].append((since, end))
    return periods


def _outside(periods: Iterable[Period], begin: datetime, end: datetime) -> Iterator[Period]:
    """Yield the parts of the time from `begin` to `end` that are outside all of the periods, which must be sorted."""
    for other_begin, other_end in periods:
        if begin < min(other_begin, end):
            yield begin, min(other_begin, end)
        begin = max(begin, other_end)
    if begin < end:
        yield begin, end


def _version(link: Link | LinkVersion, **changes: Any) -> LinkVersion:
    return LinkVersion(**{**{name: getattr(link, name) for name in _COLUMNS}, **changes})


def _versions(caller: Caller, namespace: str) -> QuerySet[LinkVersion]:
    versions: QuerySet[LinkVersion] = LinkVersion.objects.for_tenant(caller.tenant).filter(namespace=namespace)
    return versions


def _first_ids(caller: Caller, namespace: str) -> Sequence[int]:
    return list(_versions(caller, namespace).order_by("id").values_list("id", flat=True)[:BATCH])
