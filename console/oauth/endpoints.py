"""The endpoints that apps call: token, revocation and registration. They accept no cookies and need no key."""

from __future__ import annotations

import orjson
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_POST

from console.oauth import clients, grants
from console.oauth.grants import ACCESS_LIFETIME, MAX_TOKEN_LENGTH, TokenRequest, Tokens
from console.oauth.protocol import OAuthError, endpoint, single
from somamemory.db import tenant_scope
from somamemory.errors import RateLimited
from somamemory.web.request_state import state_of
from tenants.limits import policy

MAX_METADATA_BYTES = 16 * 1024
_FORM = "application/x-www-form-urlencoded"


@endpoint
@require_POST
def token(request: HttpRequest) -> HttpResponse:
    """Exchange a code or a refresh token for tokens."""
    parameters = _parameters(request)
    try:
        tokens = _tokens(request, parameters)
    except OAuthError:
        _count_failure(request)
        raise
    return JsonResponse(
        {
            "access_token": tokens.access_token,
            "token_type": "Bearer",
            "expires_in": int(ACCESS_LIFETIME.total_seconds()),
            "refresh_token": tokens.refresh_token,
            "scope": " ".join(tokens.scopes),
        }
    )


@endpoint
@require_POST
def revoke(request: HttpRequest) -> HttpResponse:
    """Revoke a token's grant. The response does not reveal whether the token was valid (RFC 7009)."""
    parameters = _parameters(request)
    grants.revoke_token(_token_request(request, parameters, "token"))
    return HttpResponse()


@endpoint
@require_POST
def register(request: HttpRequest) -> HttpResponse:
    """Register a client (RFC 7591)."""
    tenant_scope.cross()  # clients belong to no tenant
    if len(request.body) > MAX_METADATA_BYTES:
        raise OAuthError("invalid_client_metadata", f"the body must be at most {MAX_METADATA_BYTES} bytes long")
    try:
        metadata = orjson.loads(request.body)
    except orjson.JSONDecodeError:
        raise OAuthError("invalid_client_metadata", "the body must be JSON") from None
    client = clients.register(metadata, state_of(request).client_address)
    body = {
        "client_id": client.client_id,
        "client_id_issued_at": int(client.created_at.timestamp()),
        "client_name": client.name,
        "redirect_uris": client.redirect_uris,
        "token_endpoint_auth_method": "none",
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
    }
    return JsonResponse(body, status=201)


def _parameters(request: HttpRequest) -> dict[str, str]:
    """Return the parameters in the body.

    Raises OAuthError if the body is not a form, or if there are parameters in the URL, which would be written to logs.
    """
    tenant_scope.cross()  # the token determines the tenant
    if request.GET:
        raise OAuthError("invalid_request", "parameters must be in the body, not in the URL")
    if request.content_type != _FORM:
        raise OAuthError("invalid_request", f"the body must be {_FORM}")
    return single(request.POST)


def _tokens(request: HttpRequest, parameters: dict[str, str]) -> Tokens:
    kind = parameters.get("grant_type")
    if kind == "authorization_code":
        return grants.exchange(_token_request(request, parameters, "code"))
    if kind == "refresh_token":
        return grants.refresh(_token_request(request, parameters, "refresh_token"))
    raise OAuthError("unsupported_grant_type", "grant_type must be authorization_code or refresh_token")


def _token_request(request: HttpRequest, parameters: dict[str, str], name: str) -> TokenRequest:
    """Return the request with the code or token in the `name` parameter. Raises OAuthError for an unknown client."""
    state = state_of(request)
    return TokenRequest(
        client=clients.known(parameters.get("client_id", "")),
        secret=parameters.get(name, "")[:MAX_TOKEN_LENGTH],
        verifier=parameters.get("code_verifier", ""),
        scopes=parameters.get("scope", "").split(),
        redirect_uri=parameters.get("redirect_uri"),
        resource=parameters.get("resource"),
        request_id=state.request_id,
        address=state.client_address,
    )


def _count_failure(request: HttpRequest) -> None:
    decision = policy.refuse(state_of(request).client_address)
    if not decision.allowed:
        raise RateLimited("too many failed requests from this address; retry later", decision.retry_after_s)
