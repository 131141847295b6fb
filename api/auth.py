"""Who is calling: reads the headers, asks `tenants.keys`."""

from __future__ import annotations

from django.http import HttpRequest
from ninja.security.base import AuthBase

from api import throttle
from api.json import refuse_body
from somamemory.errors import Forbidden, InvalidInput, MalformedRequest, NotFound, Unauthenticated
from tenants import keys
from tenants.caller import Caller


class Request(HttpRequest):
    """A request that has passed authentication."""

    caller: Caller
    request_id: str


class KeyAuth(AuthBase):
    """`Authorization: Bearer KEY` or `X-API-Key: KEY`; `X-Tenant: slug` (or `X-Soma-Tenant`)."""

    openapi_type = "http"
    openapi_scheme = "bearer"

    def __call__(self, request: HttpRequest) -> Caller:
        try:
            caller = _authenticated(request)
        except (Unauthenticated, Forbidden, NotFound):
            throttle.note_refused_key(request)
            raise
        request.caller = caller  # type: ignore[attr-defined]
        throttle.admit(request, caller)
        # Known before, said only to those who may call at all.
        if unknown := getattr(request, "refused_query", None):
            raise InvalidInput(unknown[0], unknown[1])
        if getattr(request, "takes_no_body", False):
            refuse_body(request)
        return caller


def _authenticated(request: HttpRequest) -> Caller:
    token = token_of(request)
    if not token:
        raise Unauthenticated("send the key as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'")
    return keys.authenticate(
        token, _tenant(request), getattr(request, "request_id", ""), getattr(request, "client_address", "")
    )


def token_of(request: HttpRequest) -> str:
    """The key as it was sent, or nothing."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    return request.headers.get("X-API-Key", "").strip()


def _tenant(request: HttpRequest) -> str | None:
    named = {request.headers[name] for name in ("X-Tenant", "X-Soma-Tenant") if name in request.headers}
    if len(named) > 1:
        raise MalformedRequest("X-Tenant and X-Soma-Tenant name different tenants")
    return named.pop() if named else None
