"""The apps that users can connect: registered ones, and those with a client ID metadata document."""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from django.utils import timezone

from console.models import MAX_URL_LENGTH, OAuthClient
from console.oauth import client_documents
from console.oauth.protocol import OAuthError
from somamemory.errors import RateLimited
from tenants.limits import policy

MAX_REDIRECT_URIS = 10
MAX_NAME_LENGTH = 200
# Anyone may register a client. Clients without a grant are removed after a day.
MAX_UNUSED = 1_000
UNUSED_LIFETIME = timedelta(days=1)
DOCUMENT_LIFETIME = timedelta(hours=1)
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_WAIT_S = 3600.0
# Many apps request a secret. The response to a registration replaces these methods with "none", as RFC 7591 allows.
_REPLACED_METHODS = ("none", "client_secret_post", "client_secret_basic")


def register(metadata: object, address: str) -> OAuthClient:
    """Register a public client (RFC 7591).

    Raises OAuthError if the metadata is not valid, and RateLimited if there are too many new or unused clients.

    address: the address from which the request came. Each address may register only a few clients per minute.
    """
    _admit(address)
    if not isinstance(metadata, dict):
        raise OAuthError("invalid_client_metadata", "the body must be a JSON object")
    columns = _columns(metadata, _REPLACED_METHODS, default_name="Unnamed app")
    if OAuthClient.objects.filter(grants=None, fetched_at=None).count() >= MAX_UNUSED:
        raise RateLimited("too many registered clients are not yet in use; retry later", _WAIT_S)
    return OAuthClient.objects.create(client_id=f"soma_client_{secrets.token_urlsafe(24)}", **columns)


def known(client_id: str) -> OAuthClient:
    """Return the client with this id. Raises OAuthError if there is none."""
    client = OAuthClient.objects.filter(client_id=client_id[: MAX_URL_LENGTH + 1]).first()
    if client is None:
        raise OAuthError("invalid_client", "unknown client_id; register the client first", 401)
    return client


def resolved(client_id: str, address: str) -> OAuthClient:
    """Return the client with this id, after fetching the client's metadata document if there is one.

    Only for signed-in users: otherwise, anyone could make this server send requests. Raises OAuthError and RateLimited.
    """
    if not client_documents.is_url(client_id):
        return known(client_id)
    now = timezone.now()
    client = OAuthClient.objects.filter(client_id=client_id, fetched_at__gt=now - DOCUMENT_LIFETIME).first()
    if client is not None:
        return client
    _admit(address)
    columns = _columns(client_documents.fetch(client_id), ("none",))
    client, _ = OAuthClient.objects.update_or_create(client_id=client_id, defaults={**columns, "fetched_at": now})
    return client


def allows(client: OAuthClient, redirect_uri: str) -> bool:
    """Return whether the client has registered this redirect URI.

    Only the port of a loopback address may differ (RFC 8252).
    """
    return any(
        redirect_uri == registered or _without_port(redirect_uri) == _without_port(registered)
        for registered in client.redirect_uris
    )


def remove_unused() -> None:
    OAuthClient.objects.filter(grants=None, created_at__lt=timezone.now() - UNUSED_LIFETIME).delete()


def _admit(address: str) -> None:
    decision = policy.registration(address)
    if not decision.allowed:
        raise RateLimited("too many new clients from this address; retry later", decision.retry_after_s)


def _columns(metadata: dict[str, Any], methods: tuple[str, ...], default_name: str = "") -> dict[str, Any]:
    name, uris = metadata.get("client_name", default_name), metadata.get("redirect_uris")
    if not isinstance(name, str) or not name.strip() or not name.isprintable() or len(name) > MAX_NAME_LENGTH:
        message = f"client_name must have 1 to {MAX_NAME_LENGTH} printable characters"
        raise OAuthError("invalid_client_metadata", message)
    if metadata.get("token_endpoint_auth_method", "none") not in methods:
        message = f"token_endpoint_auth_method must be {' or '.join(methods)}; only public clients are supported"
        raise OAuthError("invalid_client_metadata", message)
    if not isinstance(uris, list) or not 1 <= len(uris) <= MAX_REDIRECT_URIS:
        raise OAuthError("invalid_redirect_uri", f"redirect_uris must have 1 to {MAX_REDIRECT_URIS} entries")
    if not all(isinstance(uri, str) and _is_safe(uri) for uri in uris):
        message = "redirect_uris must be https URLs, or http URLs on the loopback interface, without a fragment"
        raise OAuthError("invalid_redirect_uri", message)
    return {"name": name.strip(), "redirect_uris": uris}


def _is_safe(uri: str) -> bool:
    """Return whether codes may be sent to this URI.

    URIs that contain a user name or use a scheme such as `javascript:` are not safe.
    """
    try:
        parts = urlsplit(uri)
        parts.port  # noqa: B018 - raises ValueError
    except ValueError:
        return False
    is_plain = (
        uri.isascii() and uri.isprintable() and not set(' "\\;,').intersection(uri) and len(uri) <= MAX_URL_LENGTH
    )
    if not is_plain or not parts.hostname or "#" in uri or "@" in parts.netloc or "*" in parts.netloc:
        return False
    return parts.scheme == "https" or _is_loopback(uri)


def _is_loopback(uri: str) -> bool:
    parts = urlsplit(uri)
    return parts.scheme == "http" and parts.hostname in _LOOPBACK


def _without_port(uri: str) -> tuple[str, ...] | str:
    """Return the parts of a loopback URI that must match, and other URIs unchanged."""
    if not _is_safe(uri) or not _is_loopback(uri):
        return uri
    parts = urlsplit(uri)
    return (str(parts.hostname), parts.path, parts.query)
