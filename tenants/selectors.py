"""Read tenants, their keys and usage, and the audit log."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import Q, QuerySet
from django.utils import timezone

from somamemory.errors import NotFound
from tenants import usage
from tenants.caller import Caller
from tenants.models import ApiKey, AuditBlock, AuditEvent, Tenant, is_slug


def list_tenants(caller: Caller, after: str = "", limit: int = 50) -> Sequence[Tenant]:
    """Return up to `limit` tenants with slugs after `after`, ordered by slug."""
    caller.require_operator("read")
    return list(Tenant.objects.filter(slug__gt=after).order_by("slug")[:limit])


def every_tenant(caller: Caller) -> Iterator[Tenant]:
    """Yield every tenant, ordered by slug."""
    caller.require_operator("read")
    return Tenant.objects.order_by("slug").iterator()


def get_tenant(caller: Caller, slug: str) -> Tenant:
    """Return a tenant, active or suspended. Raises NotFound."""
    caller.require_operator("read")
    tenant = Tenant.objects.filter(slug=slug).first() if is_slug(slug) else None
    if tenant is None:
        raise NotFound(f"tenant '{slug}' does not exist")
    return tenant


def list_keys(
    caller: Caller, tenant: Tenant | None, after: tuple[datetime, UUID] | None = None, limit: int | None = None
) -> Sequence[ApiKey]:
    """Return a tenant's keys (or the operator keys, if None), newest first, starting after the key with this
    creation time and id. Secrets are never included.
    """
    caller.require_operator("read")
    keys = ApiKey.objects.filter(tenant=tenant)
    if after is not None:
        created_at, id = after
        keys = keys.filter(Q(created_at__lt=created_at) | Q(created_at=created_at, id__lt=id))
    return list(keys.order_by("-created_at", "-id")[:limit])


def usage_of(caller: Caller, tenant: Tenant) -> dict[str, tuple[int, int | None]]:
    """Return (used, quota) by quota name.

    This call counts the memories and bytes. The request count is the latest that this process knows.
    """
    caller.require_operator("read")
    memories, bytes = usage.counted(tenant)
    llm_used = usage.llm_used(tenant)
    return {
        "memories": (memories, tenant.quota_memories),
        "bytes": (bytes, tenant.quota_bytes),
        "keys": (live_keys(tenant).count(), tenant.quota_keys),
        "requests_per_day": (usage.requests_today(tenant), tenant.quota_requests_per_day),
        **{name: (llm_used[name], limit) for name, limit in usage.llm_limits(tenant).items()},
    }


def live_keys(tenant: Tenant) -> QuerySet[ApiKey]:
    """Return the keys that have neither expired nor been revoked.

    Expired keys of connected apps are included, because the apps can renew them.
    """
    live = Q(expires_at=None) | Q(expires_at__gt=timezone.now()) | Q(resource__isnull=False)
    return ApiKey.objects.filter(live, tenant=tenant, revoked_at=None)


@dataclass(frozen=True)
class AuditFilter:
    """A filter for the audit log. Empty fields match all rows."""

    action: str = ""
    actor: str = ""
    target: str = ""
    since: datetime | None = None
    until: datetime | None = None

    def apply(self, rows: QuerySet[AuditEvent]) -> QuerySet[AuditEvent]:
        exact = {"action": self.action, "actor": self.actor, "target": self.target}
        times = {"at__gte": self.since, "at__lt": self.until}
        rows = rows.filter(**{name: value for name, value in exact.items() if value})
        return rows.filter(**{name: value for name, value in times.items() if value})


def list_audit(
    caller: Caller, tenant: Tenant, audit_filter: AuditFilter | None = None, before: int | None = None, limit: int = 50
) -> Sequence[AuditEvent]:
    """Return up to `limit` rows of a tenant's log with ids below `before`, newest first."""
    caller.require_operator("read")
    rows = (audit_filter or AuditFilter()).apply(AuditEvent.objects.filter(tenant=tenant))
    if before is not None:
        rows = rows.filter(id__lt=before)
    return list(rows.order_by("-id")[:limit])


def sealed_to(tenant: Tenant) -> int:
    """Return the id of the last sealed row in a tenant's log, or 0 if no row is sealed."""
    head = AuditBlock.objects.for_tenant(tenant).order_by("-number").values_list("last_id", flat=True).first()
    return head or 0
