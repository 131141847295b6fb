"""Authentication: read the key and the tenant from the headers, and pass them to `tenants.keys`."""

from __future__ import annotations

from contextlib import suppress

from django.conf import settings
from django.http import HttpRequest
from ninja.security.base import AuthBase

from api import preconditions, throttle
from api.json import refuse_body
from api.request import Request, as_api
from somamemory import deadline
from somamemory.db import tenant_scope
from somamemory.errors import Conflict, Forbidden, MalformedRequest, NotFound, Unauthenticated
from somamemory.web import client_connection
from somamemory.web.request_state import state_of
from tenants import keys
from tenants import services as tenants
from tenants.caller import Caller

# The WSGI variable that contains the path of the MCP endpoint whose tool sent this request. Clients cannot set the
# variable, because it is not a header.
MCP_PATH = "soma.mcp_path"


class KeyAuth(AuthBase):
    """Reads `Authorization: Bearer KEY` or `X-API-Key: KEY`, and `X-Tenant: slug` (or `X-Soma-Tenant`)."""

    openapi_type = "http"
    openapi_scheme = "bearer"

    def __call__(self, request: HttpRequest) -> Caller:
        api_request = as_api(request)
        caller = identify(api_request)
        if caller.operator and api_request.admission.policy.crosses:
            tenant_scope.cross()
        _await_body(api_request)
        throttle.admit(api_request.admission, caller, int(request.META.get("CONTENT_LENGTH") or 0))
        _enforce_policy(api_request)
        _begin_deadline(api_request)
        return caller


def identify(request: Request) -> Caller:
    """Authenticate a request. Set and return its caller, and make the caller's tenant the current one.

    Raises Unauthenticated, Forbidden, NotFound and RateLimited.
    """
    try:
        caller = _authenticate(request)
    except (Unauthenticated, Forbidden, NotFound):
        throttle.note_rejected_key(request)
        raise
    request.caller = caller
    state_of(request).tenant = caller.tenant
    tenant_scope.enter(caller.tenant.id)
    return caller


def _enforce_policy(request: Request) -> None:
    """Reject input that the route would ignore.

    Runs after authentication, so that only authenticated callers see the errors.
    """
    admission = request.admission
    if not admission.policy.limited:
        request.caller.require_unlimited()
    if admission.query_error:
        raise admission.query_error
    if not admission.takes_body:
        refuse_body(request)
    if admission.policy.writes and not admission.policy.conditional:
        preconditions.reject(request)


def _await_body(request: Request) -> None:
    """Read the body before taking any rate-limit tokens for the request.

    If the body arrives slowly, the server stops processing the request at this point, and processes it again from the
    start once the body has arrived.
    """
    if request.admission.takes_body and request.method != "GET":
        request.body  # noqa: B018 - reads the body


def _begin_deadline(request: Request) -> None:
    """Restart the deadline, so that time spent on a slow upload does not count.

    Read-only requests are also stopped when their clients disconnect. All requests that belong to an MCP
    message share a single deadline.
    """
    policy, state = request.admission.policy, state_of(request)
    if state.has_begun:
        return
    state.has_begun = True
    deadline.restart(
        settings.LONG_REQUEST_DEADLINE_S if policy.long else settings.REQUEST_DEADLINE_S,
        None if policy.writes else client_connection.goodbye(request),
    )


def _authenticate(request: HttpRequest) -> Caller:
    token = token_of(request)
    if not token:
        raise Unauthenticated("send the key as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'")
    slug = _tenant_slug(request)
    try:
        return _caller(request, token, slug)
    except NotFound:
        if not settings.CREATE_TENANTS or slug is None:
            raise
    _create_tenant(_caller(request, token, None), slug)
    return _caller(request, token, slug)


def _caller(request: HttpRequest, token: str, slug: str | None) -> Caller:
    state = state_of(request)
    resource = settings.OAUTH_URL + request.META.get(MCP_PATH, request.path)
    return keys.authenticate(token, slug, state.request_id, state.client_address, resource)


def _create_tenant(operator: Caller, slug: str) -> None:
    """Create the tenant named in an operator's request. Raises Forbidden and InvalidInput."""
    # Conflict: another request has just created the tenant, or the tenant exists but is suspended.
    with tenant_scope.crossing(), suppress(Conflict):
        tenants.create_tenant(operator, slug)


def token_of(request: HttpRequest) -> str:
    """Return the key as sent, or an empty string."""
    token: str
    scheme, _, token = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
    if scheme.lower() in ("bearer", "token"):  # mem0 clients send the latter
        return token.strip()
    return str(request.META.get("HTTP_X_API_KEY", "")).strip()


def _tenant_slug(request: HttpRequest) -> str | None:
    slugs = {request.META[name] for name in ("HTTP_X_TENANT", "HTTP_X_SOMA_TENANT") if name in request.META}
    if len(slugs) > 1:
        raise MalformedRequest("X-Tenant and X-Soma-Tenant name different tenants; send only one of them")
    return slugs.pop() if slugs else None
