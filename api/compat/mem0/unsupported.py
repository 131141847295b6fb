"""mem0 platform routes for features that SomaMemory lacks. They return 501 with `detail`."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

from api.auth import KeyAuth
from api.compat.layer import CompatRouter
from api.compat.mem0.errors import NotSupported
from api.request import Request, as_api
from tenants.caller import Caller

_ORGANIZATION = "/api/v1/orgs/organizations/{a}/"
_PROJECT = "/api/v1/orgs/organizations/{a}/projects/{b}/"
# By method and path: what to use instead.
UNSUPPORTED: dict[tuple[str, str], str] = {
    ("POST", "/v1/exports/"): "use GET /api/v1/memories or the `somamemory export` command",
    ("POST", "/v1/exports/get/"): "use GET /api/v1/memories or the `somamemory export` command",
    ("POST", "/v1/summary/"): "use POST /api/v1/summarize",
    ("POST", "/v1/feedback/"): "change the importance of the memory with PATCH /api/v1/memories/by-id/{id}",
    ("GET", "/v1/exports/"): "use GET /api/v1/memories or the `somamemory export` command",
    ("GET", "/v1/stats/"): "use GET /api/v1/stats",
    ("GET", "/v1/memories/events/"): "use GET /v1/events/",
    ("GET", "/v1/entities/filters/"): "use GET /v1/entities/",
    **{
        ("POST", f"/v1/{kind}s/"): "entities exist for as long as they have memories"
        for kind in ("user", "agent", "app", "run")
    },
    ("GET", "/api/v1/orgs/organizations/"): "a tenant is one organization and one project",
    ("POST", "/api/v1/orgs/organizations/"): "an operator creates tenants with POST /api/v1/tenants",
    ("GET", _ORGANIZATION): "a tenant is one organization and one project",
    ("DELETE", _ORGANIZATION): "an operator erases tenants with DELETE /api/v1/tenants/{slug}",
    ("GET", "/api/v1/orgs/organizations/{a}/projects/"): "a tenant has one project",
    ("POST", "/api/v1/orgs/organizations/{a}/projects/"): "a tenant has one project",
    ("GET", _PROJECT): "tenants have no custom instructions or categories",
    ("PATCH", _PROJECT): "tenants have no custom instructions or categories",
    ("DELETE", _PROJECT): "an operator erases tenants with DELETE /api/v1/tenants/{slug}",
    **{
        (method, at + "members/"): "API keys control access; use /api/v1/tenants/{slug}/keys"
        for at in (_ORGANIZATION, _PROJECT)
        for method in ("GET", "POST", "PUT", "DELETE")
    },
    ("POST", "/configure"): "set the server's environment variables",
    ("GET", "/configure"): "see GET /api/v1/health",
    ("GET", "/configure/providers"): "see the configuration reference",
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
# Mounted last: handles every path that exists in neither mem0 nor SomaMemory.
rest = CompatRouter("mem0rest", prefix="/mem0", auth=_AnyRequest())
REST = "/{path:a}"


def _view(path: str, instead: str) -> Callable[..., HttpResponse]:
    def refused(request: Request) -> HttpResponse:
        requested = request.path_info.removeprefix("/mem0")
        raise NotSupported(f"{request.method} {requested} is not supported by SomaMemory; {instead}")

    def refused_for_one(request: Request, a: str) -> HttpResponse:
        return refused(request)

    def refused_for_two(request: Request, a: str, b: str) -> HttpResponse:
        return refused(request)

    return refused_for_two if "{b}" in path else refused_for_one if "a}" in path else refused


def _declare(router: CompatRouter, method: str, path: str, instead: str) -> None:
    declare = getattr(router, method.lower())
    publish = declare(path, out=None, kind="read", limited=True, openapi_extra={"requestBody": {}})
    publish(_view(path, instead))


for (_method, _path), _instead in UNSUPPORTED.items():
    _declare(router, _method, _path, _instead)
for _method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
    _declare(rest, _method, REST, "for the supported paths, see the documentation on migrating from mem0")
