"""Parameters, errors and responses of the OAuth endpoints."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Callable
from functools import wraps

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse, QueryDict
from django.views.decorators.csrf import csrf_exempt

from somamemory.errors import NotFound, RateLimited, SomaError
from somamemory.web.problems import problem

SCOPES = ("read", "write", "delete")
CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")  # a SHA-256 in base64url
_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")
_MCP_PATH = re.compile(r"/mcp(?:/([A-Za-z0-9._:/-]{1,255}))?")

View = Callable[..., HttpResponse]


class OAuthError(Exception):
    """An error response as defined by RFC 6749, such as `invalid_grant`."""

    def __init__(self, error: str, description: str, status: int = 400) -> None:
        super().__init__(description)
        self.error, self.description, self.status = error, description, status

    @property
    def fields(self) -> dict[str, str]:
        return {"error": self.error, "error_description": self.description}


def endpoint(view: View) -> View:
    """Turn a function into a view that renders OAuth errors, forbids caching, and returns 404 while OAuth is off."""

    @csrf_exempt
    @wraps(view)
    def respond(request: HttpRequest, **path: str) -> HttpResponse:
        if not settings.OAUTH_URL:
            return problem(request, NotFound("OAuth is off; set SOMA_OAUTH_URL to the public URL of this server"))
        try:
            response = view(request, **path)
        except OAuthError as error:
            response = JsonResponse(error.fields, status=error.status)
        except RateLimited as error:
            response = JsonResponse(
                {"error": "temporarily_unavailable", "error_description": error.detail},
                status=error.status,
                headers=dict(error.headers),
            )
        except SomaError as error:
            response = problem(request, error)
        response["Cache-Control"] = "no-store"
        return response

    return respond


def single(values: QueryDict) -> dict[str, str]:
    """Return the parameters by name. Raises OAuthError if one is given more than once or contains a NUL character."""
    for name, given in values.lists():
        if len(given) > 1:
            raise OAuthError("invalid_request", f"{name[:100]} is given more than once")
        if "\0" in given[0]:  # PostgreSQL cannot compare it with a column
            raise OAuthError("invalid_request", f"{name[:100]} contains a NUL character")
    return values.dict()  # type: ignore[return-value]  # the values of a query are strings


def namespace_of(resource: str) -> str | None:
    """Return the namespace in an MCP endpoint's URL, or None if there is none. Raises OAuthError for any other URL."""
    match = _MCP_PATH.fullmatch(resource.removeprefix(settings.OAUTH_URL))
    if not resource.startswith(settings.OAUTH_URL) or match is None:
        raise OAuthError(
            "invalid_target", f"resource must be {settings.OAUTH_URL}/mcp or {settings.OAUTH_URL}/mcp/NAMESPACE"
        )
    return match[1]


def matches(verifier: str, challenge: str) -> bool:
    """Return whether a code verifier belongs to a challenge (PKCE, method S256)."""
    if not _VERIFIER.fullmatch(verifier):
        return False
    expected = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    return hmac.compare_digest(expected, challenge)
