"""Routes of the mem0 platform for features that SomaMemory lacks: they return 501 with `detail`."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from api.auth import KeyAuth
from api.compat.layer import CompatRouter
from api.compat.mem0.errors import NotSupported
from api.request import Request, as_api
from tenants.caller import Caller

_PROJECT = "/api/v1/orgs/organizations/{a}/projects/{b}/"
# By method and path: what to use instead.
UNSUPPORTED: dict[tuple[str, str], str] = {
    ("POST", "/v1/exports/"): "use GET /api/v1/memories or the command `somamemory export`",
    ("POST", "/v1/exports/get/"): "use GET /api/v1/memories or the command `somamemory export`",
    ("POST", "/v1/summary/"): "use POST /api/v1/summarize",
    ("POST", "/v1/feedback/"): "change the importance of the memory with PATCH /api/v1/memories/by-id/{id}",
    ("DELETE", "/v1/entities/{a}/{b}/"): "use DELETE /v2/entities/{type}/{name}/",
    ("GET", "/api/v1/orgs/organizations/"): "a tenant is one organization and one project",
    ("POST", "/api/v1/orgs/organizations/"): "an operator creates tenants with POST /api/v1/tenants",
    ("GET", "/api/v1/orgs/organizations/{a}/projects/"): "a tenant has one project",
    ("POST", "/api/v1/orgs/organizations/{a}/projects/"): "a tenant has one project",
    ("GET", _PROJECT): "tenants have no custom instructions or categories",
    ("PATCH", _PROJECT): "tenants have no custom instructions or categories",
    ("DELETE", _PROJECT): "an operator erases tenants with DELETE /api/v1/tenants/{slug}",
    **{
        (method, _PROJECT + "members/"): "access is by API keys: use /api/v1/tenants/{slug}/keys"
        for method in ("GET", "POST", "PUT", "DELETE")
    },
    ("POST", "/configure"): "set the environment of the server",
    ("GET", "/configure"): "see GET /api/v1/health",
    ("POST", "/generate-instructions"): "there are no custom instructions",
    ("GET", "/api/v1/webhooks/projects/{a}/"): "there are no webhooks",
    ("POST", "/api/v1/webhooks/projects/{a}/"): "there are no webhooks",
    ("PUT", "/api/v1/webhooks/{a}/"): "there are no webhooks",
    ("DELETE", "/api/v1/webhooks/{a}/"): "there are no webhooks",
}


class _AnyRequest(KeyAuth):
    """Accepts all query parameters, because no part of the request is used."""

    def __call__(self, request: HttpRequest) -> Caller:
        as_api(request).admission.query_error = None
        return super().__call__(request)


router = CompatRouter("mem0unsupported", prefix="/mem0", auth=_AnyRequest())


def _view(method: str, path: str, instead: str) -> Callable[..., HttpResponse]:
    reason = f"{method} {path} is not supported by SomaMemory; {instead}"

    def refused(request: Request) -> HttpResponse:
        raise NotSupported(reason)

    def refused_for_one(request: Request, a: str) -> HttpResponse:
        raise NotSupported(reason)

    def refused_for_two(request: Request, a: str, b: str) -> HttpResponse:
        raise NotSupported(reason)

    return refused_for_two if "{b}" in path else refused_for_one if "{a}" in path else refused


for (_method, _path), _instead in UNSUPPORTED.items():
    _declare = getattr(router, _method.lower())(
        _path, out=None, kind="read", limited=True, openapi_extra={"requestBody": {}}
    )
    _declare(_view(_method, _path, _instead))
