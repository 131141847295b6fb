"""Erases a tenant: every row, and what other places hold of it, with a receipt that a second run confirms.

Rows are found by the models themselves (`tenants.registry`). Whatever else an app keeps of a tenant (vectors, files) it
tells by `also`. A request or a job that was under way may write once more; the keeper looks again when none can be.
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

from somamemory import caching
from somamemory.errors import ConfigurationError, Conflict, NotFound, Unavailable
from tenants import audit, keys, registry, usage
from tenants.audit import Change
from tenants.caller import Caller
from tenants.models import DEFAULT_TENANT_SLUG, ErasedTenant, Tenant, is_slug

log = logging.getLogger("soma.tenants")

BATCH = 1_000
# No job lasts longer, nor does a request whose client still waits.
LOOK_AGAIN = timedelta(seconds=settings.CELERY_TASK_TIME_LIMIT + 60)

Leftover = Callable[[Tenant], int]
_leftovers: dict[str, Leftover] = {"cache_entries": lambda tenant: caching.erase(tenant.id)}


@dataclass
class Receipt:
    """How many rows of each table were removed, and how many of what is kept elsewhere.

    missing: what could not be reached now; the keeper goes on with it, and a later run tells.
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


def also(name: str, forget: Leftover) -> None:
    """`forget` removes what is kept of a tenant outside of the database, and says how many there were.

    It may be called again, and may raise Unavailable or ConfigurationError: then it is tried again later.
    """
    _leftovers[name] = forget


def erase(caller: Caller, slug: str) -> Receipt:
    """Remove everything of a tenant, for good; or, when that was done before, look again.

    Raises NotFound for a tenant that never was, and Conflict for `default`, which operators act for.
    """
    caller.require_operator()
    if slug == DEFAULT_TENANT_SLUG:
        raise Conflict(f"the tenant '{slug}' is the operators' own and cannot be erased")
    receipt = Receipt(slug, UUID(int=0), timezone.now())
    for tenant in _begin(caller, slug):
        receipt.id = tenant.id
        _remove(tenant, receipt)
    with transaction.atomic():
        told = audit.fingerprint(receipt.tenant, receipt.erased_at, receipt.rows, receipt.elsewhere, receipt.missing)
        audit.record(_for_operators(caller), "tenant.erased", [Change(str(receipt.id), None, told)])
    return receipt


def look_again() -> None:
    """Remove what was written while a tenant was being erased, and what could not be reached then."""
    now = timezone.now()
    for gone in ErasedTenant.objects.filter(confirmed_at=None, erased_at__lte=now - LOOK_AGAIN):
        receipt = Receipt("", gone.tenant_id, now)
        _remove(Tenant(id=gone.tenant_id), receipt)
        if receipt.total:
            log.info("an erased tenant had left something", extra={"rows": receipt.rows, **receipt.elsewhere})
        if receipt.complete:
            ErasedTenant.objects.filter(tenant_id=gone.tenant_id).update(confirmed_at=now)


def _begin(caller: Caller, slug: str) -> list[Tenant]:
    """The tenant, of which nobody can have a request admitted any more; or those that had this name before."""
    with transaction.atomic():
        tenant = Tenant.objects.select_for_update().filter(slug=slug).first() if is_slug(slug) else None
        if tenant is not None:
            audit.record(_for_operators(caller), "tenant.erase", [str(tenant.id)])
            ErasedTenant.objects.update_or_create(tenant_id=tenant.id, defaults={"slug_digest": _digest(slug)})
            Tenant.objects.filter(id=tenant.id).update(active=False)
    keys.forget_cached()
    if tenant is not None:
        return [tenant]
    before = [Tenant(id=gone.tenant_id) for gone in ErasedTenant.objects.filter(slug_digest=_digest(slug))]
    if not before:
        raise NotFound(f"no tenant '{slug}'")
    return before


def _remove(tenant: Tenant, receipt: Receipt) -> None:
    usage.forget(tenant)
    for model in registry.owned():
        _count(receipt.rows, model._meta.db_table, _remove_rows(model, tenant))
    for name, forget in _leftovers.items():
        try:
            _count(receipt.elsewhere, name, forget(tenant))
        except (Unavailable, ConfigurationError) as error:
            log.warning("not everything of an erased tenant could be reached", extra={"reason": str(error)})
            receipt.missing.append(name)
    _count(receipt.rows, Tenant._meta.db_table, Tenant.objects.filter(id=tenant.id).delete()[0])


def _remove_rows(model: type[Model], tenant: Tenant) -> int:
    """In small transactions, so that nobody waits for long."""
    rows, removed = registry.rows(model, tenant), 0
    while batch := list(rows.order_by().values_list("pk", flat=True)[:BATCH]):
        removed += rows.filter(pk__in=batch).delete()[1].get(model._meta.label, 0)
    return removed


def _count(into: dict[str, int], name: str, count: int) -> None:
    into[name] = into.get(name, 0) + count


def _for_operators(caller: Caller) -> Caller:
    return caller.acting_for(Tenant.objects.get(slug=DEFAULT_TENANT_SLUG))


def _digest(slug: str) -> bytes:
    return hmac.digest(settings.SECRET_KEY.encode(), b"erased tenant " + slug.encode(), "sha256")
