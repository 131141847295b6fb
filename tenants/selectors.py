"""The only readers of tenants and keys."""

from __future__ import annotations

from collections.abc import Sequence

from somamemory.errors import NotFound
from tenants.caller import Caller
from tenants.models import ApiKey, Tenant, is_slug

PAGE_LIMIT = 1000


def list_tenants(caller: Caller, after: str = "", limit: int = 50) -> Sequence[Tenant]:
    """Up to `limit` tenants by slug, those after `after`."""
    caller.require_operator()
    return list(Tenant.objects.filter(slug__gt=after).order_by("slug")[:limit])


def get_tenant(caller: Caller, slug: str) -> Tenant:
    """A tenant, active or not."""
    caller.require_operator()
    tenant = Tenant.objects.filter(slug=slug).first() if is_slug(slug) else None
    if tenant is None:
        raise NotFound(f"no tenant '{slug}'")
    return tenant


def list_keys(caller: Caller, tenant: Tenant | None) -> Sequence[ApiKey]:
    """The newest keys of a tenant (None: the operators'), without their secrets."""
    caller.require_operator()
    return list(ApiKey.objects.filter(tenant=tenant).order_by("-created_at", "prefix")[:PAGE_LIMIT])
