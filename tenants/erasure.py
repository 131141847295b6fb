"""Erase a tenant: all of its rows, and its data outside the database.

The rows are found through the models (`tenants.registry`). Apps register their data outside the database (vectors,
files) with `also`. Requests and jobs that are still running may write more data, so maintenance erases the tenant again
(`confirm`) once none of them can be running.
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Model
from django.utils import timezone

from somamemory import caching, failpoints
from somamemory.errors import ConfigurationError, Conflict, NotFound, Unavailable
from tenants import audit, keys, registry, usage
from tenants.audit import Change, erasures
from tenants.caller import Caller
from tenants.models import DEFAULT_TENANT_SLUG, ErasedTenant, Tenant, is_slug

log = logging.getLogger("soma.tenants")

BATCH = 1_000
# After this time, no job or request that was running during the erasure can still be running.
CONFIRM_AFTER = timedelta(seconds=settings.CELERY_TASK_TIME_LIMIT + 60)

Eraser = Callable[[Tenant], int]  # removes data outside the database and returns the number of items
_erasers: dict[str, Eraser] = {"cache_entries": lambda tenant: caching.erase(tenant.id)}


@dataclass
class Receipt:
    """The number of rows removed from each table, and of items removed outside the database.

    missing: stores that did not respond. Maintenance retries them. Calling `erase` again reports whether the retry
    succeeded.
    """

    tenant: str
    id: UUID
    erased_at: datetime
    rows: dict[str, int] = field(default_factory=dict)
    elsewhere: dict[str, int] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        return sum(self.rows.values()) + sum(self.elsewhere.values())

    @property
    def complete(self) -> bool:
        return not self.missing


def also(name: str, erase: Eraser) -> None:
    """Register `erase`, which removes a tenant's data outside the database and returns the number of items.

    `erase` may be called more than once. If it raises Unavailable or ConfigurationError, it is retried later.
    """
    _erasers[name] = erase


def erase(caller: Caller, slug: str) -> Receipt:
    """Erase a tenant permanently, or confirm an earlier erasure.

    Raises NotFound for a tenant that never existed, and Conflict for `default`, the operators' own tenant.
    """
    caller.require_operator()
    if slug == DEFAULT_TENANT_SLUG:
        raise Conflict(f"tenant '{slug}' belongs to the operators and cannot be erased")
    receipt = Receipt(slug, UUID(int=0), timezone.now())
    for tenant in _begin(caller, slug):
        receipt.id = tenant.id
        failpoints.reach("erase.begun")
        _remove(tenant, receipt)
    failpoints.reach("erase.removed")
    with transaction.atomic():
        summary = audit.fingerprint(receipt.tenant, receipt.erased_at, receipt.rows, receipt.elsewhere, receipt.missing)
        audit.record(_for_operators(caller), "tenant.erased", [Change(str(receipt.id), None, summary)])
    failpoints.reach("erase.recorded")
    return receipt


def confirm() -> None:
    """Erase data that was written during an earlier erasure, or that could not be reached then."""
    now = timezone.now()
    for gone in ErasedTenant.objects.filter(confirmed_at=None, erased_at__lte=now - CONFIRM_AFTER):
        receipt = Receipt("", gone.tenant_id, now)
        _remove(Tenant(id=gone.tenant_id), receipt)
        if receipt.total:
            log.info(
                "removed data that was written during an erasure", extra={"rows": receipt.rows, **receipt.elsewhere}
            )
        if receipt.complete:
            ErasedTenant.objects.filter(tenant_id=gone.tenant_id).update(confirmed_at=now)


def _begin(caller: Caller, slug: str) -> list[Tenant]:
    """Suspend and return the tenant, or return the tenants with this slug that were erased earlier.

    New requests to a suspended tenant are rejected. Raises NotFound if no tenant has ever had this slug.
    """
    with transaction.atomic():
        tenant = Tenant.objects.select_for_update().filter(slug=slug).first() if is_slug(slug) else None
        if tenant is not None:
            audit.record(_for_operators(caller), "tenant.erase", [str(tenant.id)])
            erasures.record(tenant, _digest(slug))
            Tenant.objects.filter(id=tenant.id).update(active=False)
    keys.forget_cached()
    if tenant is not None:
        return [tenant]
    erased = [Tenant(id=gone.tenant_id) for gone in ErasedTenant.objects.filter(slug_digest=_digest(slug))]
    if not erased:
        raise NotFound(f"tenant '{slug}' does not exist")
    return erased


def _remove(tenant: Tenant, receipt: Receipt) -> None:
    usage.forget(tenant)
    erasures.record_chain(tenant)
    for model in registry.tenant_models():
        _count(receipt.rows, model._meta.db_table, _remove_rows(model, tenant))
        failpoints.reach("erase.table")
    for name, erase_items in _erasers.items():
        try:
            _count(receipt.elsewhere, name, erase_items(tenant))
        except (Unavailable, ConfigurationError) as error:
            log.warning(
                "could not reach a store during an erasure; maintenance will retry", extra={"reason": str(error)}
            )
            receipt.missing.append(name)
    failpoints.reach("erase.elsewhere")
    _count(receipt.rows, Tenant._meta.db_table, Tenant.objects.filter(id=tenant.id).delete()[0])


def _remove_rows(model: type[Model], tenant: Tenant) -> int:
    """Delete rows in small transactions, so that other writers do not have to wait long."""
    rows, removed = registry.rows(model, tenant), 0
    while batch := list(rows.order_by().values_list("pk", flat=True)[:BATCH]):
        removed += rows.filter(pk__among=batch).delete()[1].get(model._meta.label, 0)
    return removed


def _count(counts: dict[str, int], name: str, count: int) -> None:
    counts[name] = counts.get(name, 0) + count


def _for_operators(caller: Caller) -> Caller:
    return caller.acting_for(Tenant.objects.get(slug=DEFAULT_TENANT_SLUG))


def _digest(slug: str) -> bytes:
    return hmac.digest(settings.SECRET_KEY.encode(), b"erased tenant " + slug.encode(), "sha256")
