"""Metadata about the authorization server (RFC 8414) and the MCP endpoint (RFC 9728)."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import reverse
from django.views.decorators.http import require_safe

from console.oauth.protocol import SCOPES, OAuthError, endpoint, namespace_of
from somamemory.errors import NotFound


@endpoint
@require_safe
def authorization_server(request: HttpRequest) -> HttpResponse:
    url = settings.OAUTH_URL
    return JsonResponse(
        {
            "issuer": url,
            "authorization_endpoint": url + reverse("admin:oauth_authorize"),
            "token_endpoint": f"{url}/oauth/token",
            "revocation_endpoint": f"{url}/oauth/revoke",
            "registration_endpoint": f"{url}/oauth/register",
            "scopes_supported": SCOPES,
            "response_types_supported": ["code"],
            "response_modes_supported": ["query"],
            "grant_types_supported": ["authorization_code", "refresh_token"],
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["none"],
            "revocation_endpoint_auth_methods_supported": ["none"],
            "authorization_response_iss_parameter_supported": True,
            "client_id_metadata_document_supported": True,
        }
    )


@endpoint
@require_safe
def protected_resource(request: HttpRequest, path: str = "mcp") -> HttpResponse:
    resource = f"{settings.OAUTH_URL}/{path}"
    try:
        namespace_of(resource)
    except OAuthError as error:
        raise NotFound(error.description) from None
    return JsonResponse(
        {
            "resource": resource,
            "resource_name": "SomaMemory",
            "authorization_servers": [settings.OAUTH_URL],
            "scopes_supported": SCOPES,
            "bearer_methods_supported": ["header"],
        }
    )
