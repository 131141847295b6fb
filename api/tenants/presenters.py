"""Present tenants, keys and audit events as JSON."""

from __future__ import annotations

from collections.abc import Mapping

from api.json import JsonObject
from somamemory.times import rfc3339, rfc3339_or_none
from tenants.erasure import Receipt
from tenants.keys import IssuedKey
from tenants.models import ApiKey, AuditEvent, Tenant
from tenants.services import policies_of, quotas_of


def tenant(tenant: Tenant) -> JsonObject:
    return {
        "slug": tenant.slug,
        "name": tenant.name,
        "active": tenant.active,
        "tier": tenant.tier,
        "quotas": quotas_of(tenant),
        "policies": policies_of(tenant),
        "created_at": rfc3339(tenant.created_at),
    }


def usage(slug: str, usage: Mapping[str, tuple[int, int | None]]) -> JsonObject:
    return {"slug": slug, **{name: {"used": used, "quota": quota} for name, (used, quota) in usage.items()}}


def audit_event(event: AuditEvent, last_sealed_id: int) -> JsonObject:
    return {
        "id": event.id,
        "at": rfc3339(event.at),
        "actor": event.actor,
        "action": event.action,
        "namespace": event.namespace,
        "target": event.target,
        "request_id": event.request_id,
        "address": event.address,
        "before_hash": event.before_hash and bytes(event.before_hash).hex(),
        "after_hash": event.after_hash and bytes(event.after_hash).hex(),
        "sealed": event.id <= last_sealed_id,
    }


def receipt(receipt: Receipt) -> JsonObject:
    return {
        "slug": receipt.tenant,
        "id": str(receipt.id),
        "erased_at": rfc3339(receipt.erased_at),
        "rows": receipt.rows,
        "elsewhere": receipt.elsewhere,
        "total": receipt.total,
        "complete": receipt.complete,
        "missing": receipt.missing,
    }


def key(key: ApiKey) -> JsonObject:
    return {
        "prefix": key.prefix,
        "name": key.name,
        "scopes": key.scopes,
        "namespaces": key.namespaces,
        "user_id": key.user_id,
        "created_at": rfc3339(key.created_at),
        "expires_at": rfc3339_or_none(key.expires_at),
        "revoked_at": rfc3339_or_none(key.revoked_at),
        "last_used_at": rfc3339_or_none(key.last_used_at),
    }


def issued_key(issued: IssuedKey) -> JsonObject:
    return {**key(issued.key), "key": issued.secret}
