"""The only readers of tenants and keys."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from uuid import UUID

from django.db.models import Q

from somamemory.errors import NotFound
from tenants.caller import Caller
from tenants.models import ApiKey, Tenant, is_slug


def list_tenants(caller: Caller, after: str = "", limit: int = 50) -> Sequence[Tenant]:
    """Up to `limit` tenants by slug, those after `after`."""
    caller.require_operator()
    return list(Tenant.objects.filter(slug__gt=after).order_by("slug")[:limit])


def every_tenant(caller: Caller) -> Iterator[Tenant]:
    """Every tenant, by slug, one after the other."""
    caller.require_operator()
    return Tenant.objects.order_by("slug").iterator()


def get_tenant(caller: Caller, slug: str) -> Tenant:
    """A tenant, active or not."""
    caller.require_operator()
    tenant = Tenant.objects.filter(slug=slug).first() if is_slug(slug) else None
    if tenant is None:
        raise NotFound(f"no tenant '{slug}'")
    return tenant


def list_keys(
    caller: Caller, tenant: Tenant | None, after: UUID | None = None, limit: int | None = None
) -> Sequence[ApiKey]:
    """A tenant's keys (None: the operators'), without their secrets, the newest first; those after the key `after`."""
    caller.require_operator()
    keys = ApiKey.objects.filter(tenant=tenant)
    if after is not None:
        last = keys.filter(id=after).first()
        if last is None:
            return []
        older = Q(created_at__lt=last.created_at) | Q(created_at=last.created_at, id__lt=last.id)
        return list(keys.filter(older).order_by("-created_at", "-id")[:limit])
    return list(keys.order_by("-created_at", "-id")[:limit])
