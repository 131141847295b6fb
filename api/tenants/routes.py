"""Routes for tenants, their keys and their audit log, for operators."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from django.http import HttpResponse, StreamingHttpResponse
from ninja import Query

from api.json import PRIVATE, reply
from api.request import Request
from api.routing import PolicyRouter
from api.tenants import presenters
from api.tenants.schemas import (
    AuditPageOut,
    AuditParams,
    ErasedOut,
    IssuedKeyOut,
    KeyBody,
    KeyOut,
    KeysOut,
    PageParams,
    RotateBody,
    TenantBody,
    TenantOut,
    TenantPatch,
    TenantsOut,
    UsageOut,
)
from somamemory import cursors
from tenants import erasure, export, keys, selectors, services
from tenants.selectors import AuditFilter

_NDJSON = {"responses": {200: {"content": {"application/x-ndjson": {"schema": {"type": "string"}}}}}}
router = PolicyRouter("operators", crosses=True)


@router.post("/tenants", out={201: TenantOut})
def create_tenant(request: Request, body: TenantBody) -> HttpResponse:
    """Create a tenant."""
    tenant = services.create_tenant(
        request.caller, body.slug, body.name, body.tier, body.quotas.changes(), body.policies.changes()
    )
    return reply(presenters.tenant(tenant), 201)


@router.get("/tenants", out=TenantsOut)
def list_tenants(request: Request, query: Query[PageParams]) -> HttpResponse:
    """List the tenants of this installation, sorted by slug."""
    after = cursors.decode(query.cursor, str)[0] if query.cursor else ""
    rows = selectors.list_tenants(request.caller, after, query.limit + 1)
    page = rows[: query.limit]
    next_cursor = cursors.encode(page[-1].slug) if len(rows) > query.limit else None
    return reply({"items": [presenters.tenant(row) for row in page], "next_cursor": next_cursor})


@router.get("/tenants/{slug}", out=TenantOut)
def get_tenant(request: Request, slug: str) -> HttpResponse:
    """Fetch a tenant with its quotas and policies."""
    return reply(presenters.tenant(selectors.get_tenant(request.caller, slug)))


@router.patch("/tenants/{slug}", out=TenantOut)
def update_tenant(request: Request, slug: str, body: TenantPatch) -> HttpResponse:
    """Rename a tenant, suspend it (`active: false`), or change its tier, quotas or policies."""
    tenant = services.update_tenant(
        request.caller,
        slug,
        name=body.name,
        tier=body.tier,
        active=body.active,
        quotas=body.quotas.changes(),
        policies=body.policies.changes(),
    )
    return reply(presenters.tenant(tenant))


@router.delete("/tenants/{slug}", out=ErasedOut, long=True)
def erase_tenant(request: Request, slug: str) -> HttpResponse:
    """Permanently erase a tenant and all its data, and return a receipt.

    To confirm that nothing is left, send the request again.
    """
    return reply(presenters.receipt(erasure.erase(request.caller, slug)))


@router.get("/tenants/{slug}/usage", out=UsageOut)
def usage(request: Request, slug: str) -> HttpResponse:
    """Show a tenant's usage and quotas."""
    tenant = selectors.get_tenant(request.caller, slug)
    return reply(presenters.usage(slug, selectors.usage_of(request.caller, tenant)))


@router.get("/tenants/{slug}/audit", out=AuditPageOut)
def list_audit(request: Request, slug: str, query: Query[AuditParams]) -> HttpResponse:
    """List the rows of a tenant's audit log, newest first.

    Each row contains the actor, the action, the target and the client address.
    """
    tenant = selectors.get_tenant(request.caller, slug)
    audit_filter = AuditFilter(query.action, query.actor, query.target, query.since, query.until)
    before = _row_id(query.cursor) if query.cursor else None
    rows = selectors.list_audit(request.caller, tenant, audit_filter, before, query.limit + 1)
    page, last_sealed_id = rows[: query.limit], selectors.sealed_to(tenant)
    next_cursor = cursors.encode(page[-1].id) if len(rows) > query.limit else None
    return reply({"items": [presenters.audit_event(row, last_sealed_id) for row in page], "next_cursor": next_cursor})


@router.get("/tenants/{slug}/export", out=None, long=True, openapi_extra=_NDJSON)
def export_tenant(request: Request, slug: str) -> StreamingHttpResponse:
    """Export all of a tenant's data as JSON lines (application/x-ndjson). The last line contains the counts."""
    lines = export.lines(request.caller, slug)
    return StreamingHttpResponse(lines, content_type="application/x-ndjson", headers=PRIVATE)


@router.post("/tenants/{slug}/keys", out={201: IssuedKeyOut})
def issue_key(request: Request, slug: str, body: KeyBody) -> HttpResponse:
    """Create an API key for a tenant. Only this response contains the key."""
    tenant = selectors.get_tenant(request.caller, slug)
    issued = keys.issue(
        request.caller,
        tenant,
        name=body.name,
        scopes=body.scopes,
        namespaces=body.namespaces,
        user_id=body.user_id,
        expires_at=body.expires_at,
        secret=body.secret,
    )
    return reply(presenters.issued_key(issued), 201)


@router.get("/tenants/{slug}/keys", out=KeysOut)
def list_keys(request: Request, slug: str, query: Query[PageParams]) -> HttpResponse:
    """List a tenant's keys, newest first, without their secrets."""
    tenant = selectors.get_tenant(request.caller, slug)
    after = _key_position(query.cursor) if query.cursor else None
    rows = selectors.list_keys(request.caller, tenant, after, query.limit + 1)
    page = rows[: query.limit]
    next_cursor = cursors.encode(page[-1].created_at, page[-1].id) if len(rows) > query.limit else None
    return reply({"items": [presenters.key(row) for row in page], "next_cursor": next_cursor})


@router.post("/tenants/{slug}/keys/{prefix}/rotate", out={201: IssuedKeyOut})
def rotate_key(request: Request, slug: str, prefix: str, body: RotateBody | None = None) -> HttpResponse:
    """Create a key with the same permissions. The old key remains valid for `overlap_hours`, 24 by default."""
    tenant = selectors.get_tenant(request.caller, slug)
    overlap = timedelta(hours=(body or RotateBody()).overlap_hours)
    issued = keys.rotate(request.caller, prefix, tenant, overlap)
    return reply(presenters.issued_key(issued), 201)


@router.delete("/tenants/{slug}/keys/{prefix}", out=KeyOut)
def revoke_key(request: Request, slug: str, prefix: str) -> HttpResponse:
    """Revoke a key. All processes reject it within five seconds."""
    tenant = selectors.get_tenant(request.caller, slug)
    return reply(presenters.key(keys.revoke(request.caller, prefix, tenant)))


def _row_id(cursor: str) -> int:
    number: int = cursors.decode(cursor, int)[0]
    if number < 1:
        raise cursors.invalid()
    return number


def _key_position(cursor: str) -> tuple[datetime, UUID]:
    created_at, id = cursors.decode(cursor, datetime, UUID)
    return created_at, id
