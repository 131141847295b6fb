"""Tenants and their keys, for operators."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any
from uuid import UUID

from django.http import HttpResponse, StreamingHttpResponse
from ninja import Query
from pydantic import Field

from api.json import PRIVATE, reply
from api.request import Request
from api.routing import PolicyRouter
from api.schemas import Instant, Limit, Params, Text
from api.tenants import presenters
from api.tenants.schemas import (
    AuditPageOut,
    ErasedOut,
    IssuedKeyOut,
    KeyBody,
    KeyOut,
    KeysOut,
    Policies,
    Quotas,
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
ShortText = Annotated[Text, Field(max_length=64)]
router = PolicyRouter("operators")


class PageParams(Params):
    limit: Limit = 50
    cursor: Annotated[str, Field(max_length=2048)] | None = None


class AuditParams(PageParams):
    action: ShortText = ""
    actor: ShortText = ""
    target: Annotated[Text, Field(max_length=2048)] = ""
    since: Instant | None = None
    until: Instant | None = None


@router.post("/tenants", out={201: TenantOut})
def create_tenant(request: Request, body: TenantBody) -> HttpResponse:
    """Make a tenant."""
    made = services.create_tenant(
        request.caller, body.slug, body.name, body.tier, _given(body.quotas), _given(body.policies)
    )
    return reply(presenters.tenant(made), 201)


@router.get("/tenants", out=TenantsOut)
def list_tenants(request: Request, query: Query[PageParams]) -> HttpResponse:
    """The tenants of this installation, by slug."""
    after = cursors.decode(query.cursor, str)[0] if query.cursor else ""
    rows = selectors.list_tenants(request.caller, after, query.limit + 1)
    page = rows[: query.limit]
    more = cursors.encode(page[-1].slug) if len(rows) > query.limit else None
    return reply({"items": [presenters.tenant(row) for row in page], "next_cursor": more})


@router.get("/tenants/{slug}", out=TenantOut)
def get_tenant(request: Request, slug: str) -> HttpResponse:
    """A tenant and its quotas."""
    return reply(presenters.tenant(selectors.get_tenant(request.caller, slug)))


@router.patch("/tenants/{slug}", out=TenantOut)
def update_tenant(request: Request, slug: str, body: TenantPatch) -> HttpResponse:
    """Rename a tenant, suspend it (`active`: false), or change its tier, quotas and policies."""
    changed = services.update_tenant(
        request.caller,
        slug,
        name=body.name,
        tier=body.tier,
        active=body.active,
        quotas=_given(body.quotas),
        policies=_given(body.policies),
    )
    return reply(presenters.tenant(changed))


@router.delete("/tenants/{slug}", out=ErasedOut)
def erase_tenant(request: Request, slug: str) -> HttpResponse:
    """Erase everything of a tenant, for good; the receipt counts it. Sent again it confirms that nothing is left."""
    return reply(presenters.receipt(erasure.erase(request.caller, slug)))


@router.get("/tenants/{slug}/usage", out=UsageOut)
def usage(request: Request, slug: str) -> HttpResponse:
    """What a tenant uses, beside its quotas."""
    tenant = selectors.get_tenant(request.caller, slug)
    return reply(presenters.usage(slug, selectors.usage_of(request.caller, tenant)))


@router.get("/tenants/{slug}/audit", out=AuditPageOut)
def list_audit(request: Request, slug: str, query: Query[AuditParams]) -> HttpResponse:
    """What was changed, by whom, from where; the newest first."""
    tenant = selectors.get_tenant(request.caller, slug)
    which = AuditFilter(query.action, query.actor, query.target, query.since, query.until)
    before = _row_id(query.cursor) if query.cursor else None
    rows = selectors.list_audit(request.caller, tenant, which, before, query.limit + 1)
    page, sealed_to = rows[: query.limit], selectors.sealed_to(tenant)
    more = cursors.encode(page[-1].id) if len(rows) > query.limit else None
    return reply({"items": [presenters.audit_event(row, sealed_to) for row in page], "next_cursor": more})


@router.get("/tenants/{slug}/export", out=None, openapi_extra=_NDJSON)
def export_tenant(request: Request, slug: str) -> StreamingHttpResponse:
    """All that a tenant has, as lines of JSON (application/x-ndjson); the last one counts them."""
    lines = export.lines(request.caller, slug)
    return StreamingHttpResponse(lines, content_type="application/x-ndjson", headers=PRIVATE)


@router.post("/tenants/{slug}/keys", out={201: IssuedKeyOut})
def issue_key(request: Request, slug: str, body: KeyBody) -> HttpResponse:
    """Make a key for a tenant. The answer is the only place where it is ever shown."""
    tenant = selectors.get_tenant(request.caller, slug)
    issued = keys.issue(
        request.caller,
        tenant,
        name=body.name,
        scopes=body.scopes,
        namespaces=body.namespaces,
        expires_at=body.expires_at,
        secret=body.secret,
    )
    return reply(presenters.issued_key(issued), 201)


@router.get("/tenants/{slug}/keys", out=KeysOut)
def list_keys(request: Request, slug: str, query: Query[PageParams]) -> HttpResponse:
    """A tenant's keys, the newest first, without their secrets."""
    tenant = selectors.get_tenant(request.caller, slug)
    after = _key_id(query.cursor) if query.cursor else None
    rows = selectors.list_keys(request.caller, tenant, after, query.limit + 1)
    page = rows[: query.limit]
    more = cursors.encode(page[-1].id) if len(rows) > query.limit else None
    return reply({"items": [presenters.key(row) for row in page], "next_cursor": more})


@router.post("/tenants/{slug}/keys/{prefix}/rotate", out={201: IssuedKeyOut})
def rotate_key(request: Request, slug: str, prefix: str, body: RotateBody | None = None) -> HttpResponse:
    """Make a key like this one, which goes on working for a day, or as long as you say."""
    tenant = selectors.get_tenant(request.caller, slug)
    overlap = timedelta(hours=(body or RotateBody()).overlap_hours)
    issued = keys.rotate(request.caller, prefix, tenant, overlap)
    return reply(presenters.issued_key(issued), 201)


@router.delete("/tenants/{slug}/keys/{prefix}", out=KeyOut)
def revoke_key(request: Request, slug: str, prefix: str) -> HttpResponse:
    """Stop a key. Other processes notice within five seconds."""
    tenant = selectors.get_tenant(request.caller, slug)
    return reply(presenters.key(keys.revoke(request.caller, prefix, tenant)))


def _given(part: Quotas | Policies) -> dict[str, Any]:
    """Those that the body names."""
    return {name: getattr(part, name) for name in part.model_fields_set}


def _row_id(cursor: str) -> int:
    number: int = cursors.decode(cursor, int)[0]
    if number < 1:
        raise cursors.invalid()
    return number


def _key_id(cursor: str) -> UUID:
    id: UUID = cursors.decode(cursor, UUID)[0]
    return id
