"""The only writers of tenants."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import transaction

from somamemory.errors import Conflict, InvalidInput, NotFound
from tenants import audit, keys, usage
from tenants.audit import Change
from tenants.caller import Caller
from tenants.models import DEFAULT_TENANT_SLUG, Tenant, is_slug

QUOTAS = (
    "memories",
    "bytes",
    "keys",
    "requests_per_day",
    "llm_tokens_per_day",
    "llm_tokens_per_month",
    "llm_cents_per_month",
)
POLICIES = ("auto_label", "extract_facts")  # what is done with a tenant's conversations by itself
MAX_QUOTA = 2**63 - 1


def create_tenant(
    caller: Caller,
    slug: str,
    name: str = "",
    tier: str = Tenant.Tier.STANDARD,
    quotas: Mapping[str, int | None] = {},
    policies: Mapping[str, Any] = {},
) -> Tenant:
    """quotas: by the names in `QUOTAS`; None or absent: no limit. policies: by those in `POLICIES`; absent: not done.

    Raises Conflict, InvalidInput.
    """
    caller.require_operator()
    if not is_slug(slug):
        raise InvalidInput("slug", "1 to 63 of a-z, 0-9, '-' and '_', beginning and ending with a letter or digit")
    fields = {"name": name, "tier": _checked_tier(tier), **_columns(quotas), **_checked_policies(policies)}
    with transaction.atomic():
        tenant, created = Tenant.objects.get_or_create(slug=slug, defaults=fields)
        if not created:
            raise Conflict(f"the tenant '{slug}' exists already")
        audit.record(caller.acting_for(tenant), "tenant.create", [Change(slug, None, _facts(tenant))])
    return tenant


def update_tenant(
    caller: Caller,
    slug: str,
    *,
    name: str | None = None,
    tier: str | None = None,
    active: bool | None = None,
    quotas: Mapping[str, int | None] = {},
    policies: Mapping[str, Any] = {},
) -> Tenant:
    """Change what is given. An inactive tenant's keys are refused, and its data stays; processes notice in seconds.

    Raises NotFound, InvalidInput, and Conflict for the suspension of the operators' own tenant.
    """
    caller.require_operator()
    given = {"name": name, "tier": tier and _checked_tier(tier), "active": active}
    changes: dict[str, Any] = {field: value for field, value in given.items() if value is not None}
    changes |= _columns(quotas) | _checked_policies(policies)
    if not changes:
        raise InvalidInput("body", "names nothing to change")
    with transaction.atomic():
        tenant = Tenant.objects.select_for_update().filter(slug=slug).first() if is_slug(slug) else None
        if tenant is None:
            raise NotFound(f"no tenant '{slug}'")
        if active is False and slug == DEFAULT_TENANT_SLUG:
            raise Conflict(f"the tenant '{slug}' is the operators' own and cannot be suspended")
        before = _facts(tenant)
        for field, value in changes.items():
            setattr(tenant, field, value)
        tenant.save(update_fields=list(changes))
        audit.record(caller.acting_for(tenant), "tenant.update", [Change(slug, before, _facts(tenant))])
    if usage.is_limited(tenant):
        usage.recount(tenant, again_soon=True)
    keys.forget_cached()
    return tenant


def quotas_of(tenant: Tenant) -> dict[str, int | None]:
    return {name: getattr(tenant, f"quota_{name}") for name in QUOTAS}


def policies_of(tenant: Tenant) -> dict[str, Any]:
    return {name: getattr(tenant, name) for name in POLICIES}


def _checked_policies(policies: Mapping[str, Any]) -> dict[str, Any]:
    """auto_label: a confidence from 0 to 1, or None; extract_facts: whether."""
    for name in policies:
        if name not in POLICIES:
            raise InvalidInput(f"policies.{name}", f"unknown; there are {', '.join(POLICIES)}")
    threshold, wanted = policies.get("auto_label"), policies.get("extract_facts", False)
    if threshold is not None and not (isinstance(threshold, float | int) and 0 <= threshold <= 1):
        raise InvalidInput("policies.auto_label", "must be a confidence from 0 to 1, or null for no automatic labels")
    if not isinstance(wanted, bool):
        raise InvalidInput("policies.extract_facts", "must be true or false")
    return dict(policies)


def _columns(quotas: Mapping[str, int | None]) -> dict[str, int | None]:
    for name, value in quotas.items():
        if name not in QUOTAS:
            raise InvalidInput(f"quotas.{name}", f"unknown; there are {', '.join(QUOTAS)}")
        if value is not None and not 0 <= value <= MAX_QUOTA:
            raise InvalidInput(f"quotas.{name}", f"must be 0 to {MAX_QUOTA}, or null for no limit")
    return {f"quota_{name}": value for name, value in quotas.items()}


def _checked_tier(tier: str) -> str:
    if tier not in Tenant.Tier.values:
        raise InvalidInput("tier", f"unknown; there are {', '.join(Tenant.Tier.values)}")
    return tier


def _facts(tenant: Tenant) -> bytes:
    told = (tenant.slug, tenant.name, tenant.active, tenant.tier, quotas_of(tenant), policies_of(tenant))
    return audit.fingerprint(*told)
