"""Who is calling: reads the headers, asks `tenants.keys`."""

from __future__ import annotations

from django.http import HttpRequest
from ninja.security.base import AuthBase

from somamemory.errors import InvalidInput, MalformedRequest, Unauthenticated
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
        token = _token(request)
        if not token:
            raise Unauthenticated("send the key as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'")
        caller = keys.authenticate(token, _tenant(request), getattr(request, "request_id", ""))
        request.caller = caller  # type: ignore[attr-defined]
        # Known before, said only to those who may call at all.
        if unknown := getattr(request, "refused_query", None):
            raise InvalidInput(unknown[0], unknown[1])
        return caller


def _token(request: HttpRequest) -> str:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    return request.headers.get("X-API-Key", "").strip()


def _tenant(request: HttpRequest) -> str | None:
    named = {request.headers[name] for name in ("X-Tenant", "X-Soma-Tenant") if name in request.headers}
    if len(named) > 1:
        raise MalformedRequest("X-Tenant and X-Soma-Tenant name different tenants")
    return named.pop() if named else None
