"""Create and change tenants."""

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
POLICIES = ("auto_label", "extract_facts", "history_days")  # a tenant's settings
MAX_HISTORY_DAYS = 36_500
MAX_QUOTA = 2**63 - 1


def create_tenant(
    caller: Caller,
    slug: str,
    name: str = "",
    tier: str = Tenant.Tier.STANDARD,
    quotas: Mapping[str, int | None] = {},
    policies: Mapping[str, Any] = {},
) -> Tenant:
    """Create a tenant. Raises InvalidInput, and Conflict if a tenant with this slug exists.

    quotas: keys from `QUOTAS`; None or absent means no limit.
    policies: keys from `POLICIES`. By default, there are no automatic labels or facts, and `history_days` is the
    installation's default.
    """
    caller.require_operator()
    if not is_slug(slug):
        raise InvalidInput(
            "slug", "must be 1 to 63 characters from a-z, 0-9, '-' and '_', starting and ending with a letter or digit"
        )
    fields = {"name": name, "tier": _checked_tier(tier), **_columns(quotas), **_checked_policies(policies)}
    with transaction.atomic():
        tenant, created = Tenant.objects.get_or_create(slug=slug, defaults=fields)
        if not created:
            raise Conflict(f"tenant '{slug}' already exists")
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
    """Change the given fields. An inactive tenant's keys are rejected within seconds, but its data is kept.

    Raises NotFound, InvalidInput, and Conflict if the operators' own tenant would be suspended.
    """
    caller.require_operator()
    given = {"name": name, "tier": tier and _checked_tier(tier), "active": active}
    changes: dict[str, Any] = {field: value for field, value in given.items() if value is not None}
    changes |= _columns(quotas) | _checked_policies(policies)
    if not changes:
        raise InvalidInput("body", "must contain at least one field")
    with transaction.atomic():
        tenant = _locked(slug)
        if active is False and slug == DEFAULT_TENANT_SLUG:
            raise Conflict(f"tenant '{slug}' belongs to the operators and cannot be suspended")
        before = _facts(tenant)
        for field, value in changes.items():
            setattr(tenant, field, value)
        tenant.save(update_fields=list(changes))
        audit.record(caller.acting_for(tenant), "tenant.update", [Change(slug, before, _facts(tenant))])
    if usage.is_limited(tenant):
        usage.recount(tenant, again_soon=True)
    keys.forget_cached()
    return tenant


def _locked(slug: str) -> Tenant:
    tenant = Tenant.objects.select_for_update().filter(slug=slug).first() if is_slug(slug) else None
    if tenant is None:
        raise NotFound(f"tenant '{slug}' does not exist")
    return tenant


def quotas_of(tenant: Tenant) -> dict[str, int | None]:
    return {name: getattr(tenant, f"quota_{name}") for name in QUOTAS}


def policies_of(tenant: Tenant) -> dict[str, Any]:
    return {name: getattr(tenant, name) for name in POLICIES}


def _checked_policies(policies: Mapping[str, Any]) -> dict[str, Any]:
    """Return the policies. Raises InvalidInput if one of them is unknown or has an invalid value.

    `auto_label` is None or a confidence from 0 to 1, `extract_facts` is a bool, and `history_days` is None or an int.
    """
    for name in policies:
        if name not in POLICIES:
            raise InvalidInput(f"policies.{name}", f"unknown policy; must be one of {', '.join(POLICIES)}")
    threshold, extract = policies.get("auto_label"), policies.get("extract_facts", False)
    if threshold is not None and not (isinstance(threshold, float | int) and 0 <= threshold <= 1):
        raise InvalidInput("policies.auto_label", "must be between 0 and 1, or null to disable automatic labels")
    if not isinstance(extract, bool):
        raise InvalidInput("policies.extract_facts", "must be true or false")
    days = policies.get("history_days")
    if days is not None and not (isinstance(days, int) and 0 <= days <= MAX_HISTORY_DAYS):
        message = f"must be from 0 to {MAX_HISTORY_DAYS}, or null for the installation's default"
        raise InvalidInput("policies.history_days", message)
    return dict(policies)


def _columns(quotas: Mapping[str, int | None]) -> dict[str, int | None]:
    for name, value in quotas.items():
        if name not in QUOTAS:
            raise InvalidInput(f"quotas.{name}", f"unknown quota; must be one of {', '.join(QUOTAS)}")
        if value is not None and not 0 <= value <= MAX_QUOTA:
            raise InvalidInput(f"quotas.{name}", f"must be between 0 and {MAX_QUOTA}, or null for no limit")
    return {f"quota_{name}": value for name, value in quotas.items()}


def _checked_tier(tier: str) -> str:
    if tier not in Tenant.Tier.values:
        raise InvalidInput("tier", f"must be one of {', '.join(Tenant.Tier.values)}")
    return tier


def _facts(tenant: Tenant) -> bytes:
    columns = (tenant.slug, tenant.name, tenant.active, tenant.tier, quotas_of(tenant), policies_of(tenant))
    return audit.fingerprint(*columns)
