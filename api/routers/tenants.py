"""Tenants and their keys, for operators."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from django.http import HttpResponse
from ninja import Query
from pydantic import Field

from api import present
from api.auth import Request
from api.json import reply
from api.routes import PROBLEMS, StrictRouter
from api.schemas import IssuedKeyOut, KeyBody, KeyOut, KeysOut, Limit, Params, TenantBody, TenantOut, TenantsOut
from memories import cursors
from tenants import keys, selectors, services

router = StrictRouter(tags=["operators"])


class PageParams(Params):
    limit: Limit = 50
    cursor: Annotated[str, Field(max_length=2048)] | None = None


@router.post("/tenants", response={201: TenantOut, **PROBLEMS})
def create_tenant(request: Request, body: TenantBody) -> HttpResponse:
    """Make a tenant."""
    return reply(present.tenant(services.create_tenant(request.caller, body.slug, body.name)), 201)


@router.get("/tenants", response={200: TenantsOut, **PROBLEMS})
def list_tenants(request: Request, query: Query[PageParams]) -> HttpResponse:
    """The tenants of this installation, by slug."""
    after = cursors.decode(query.cursor, str)[0] if query.cursor else ""
    rows = selectors.list_tenants(request.caller, after, query.limit + 1)
    page = rows[: query.limit]
    more = cursors.encode(page[-1].slug) if len(rows) > query.limit else None
    return reply({"items": [present.tenant(row) for row in page], "next_cursor": more})


@router.post("/tenants/{slug}/keys", response={201: IssuedKeyOut, **PROBLEMS})
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
    return reply({**present.key(issued.key), "key": issued.secret}, 201)


@router.get("/tenants/{slug}/keys", response={200: KeysOut, **PROBLEMS})
def list_keys(request: Request, slug: str, query: Query[PageParams]) -> HttpResponse:
    """A tenant's keys, the newest first, without their secrets."""
    tenant = selectors.get_tenant(request.caller, slug)
    after = _key_id(query.cursor) if query.cursor else None
    rows = selectors.list_keys(request.caller, tenant, after, query.limit + 1)
    page = rows[: query.limit]
    more = cursors.encode(page[-1].id.hex) if len(rows) > query.limit else None
    return reply({"items": [present.key(row) for row in page], "next_cursor": more})


@router.delete("/tenants/{slug}/keys/{prefix}", response={200: KeyOut, **PROBLEMS})
def revoke_key(request: Request, slug: str, prefix: str) -> HttpResponse:
    """Stop a key. Other processes notice within five seconds."""
    tenant = selectors.get_tenant(request.caller, slug)
    return reply(present.key(keys.revoke(request.caller, prefix, tenant)))


def _key_id(cursor: str) -> UUID:
    try:
        return UUID(cursors.decode(cursor, str)[0])
    except ValueError:
        raise cursors.broken() from None
