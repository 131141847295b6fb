"""Routes of the mem0 platform that its clients call."""

from __future__ import annotations

from django.http import HttpResponse

from api.compat.layer import CompatRouter
from api.json import reply
from api.request import Request

router = CompatRouter("mem0", prefix="/mem0")


@router.get("/v1/ping/", out=None, limited=True)
def ping(request: Request) -> HttpResponse:
    """Report the tenant of the key. Clients call this first."""
    tenant = request.caller.tenant
    return reply({"status": "ok", "org_id": tenant.slug, "project_id": str(tenant.id), "user_email": None})
