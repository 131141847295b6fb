"""Grants: the permissions that a staff user grants to an app, and the tokens that carry them.

An access token is an API key (`tenants.keys.delegate`) with the grant's scopes, namespaces and user. It is valid for 15
minutes at one URL, and a refresh gives the key a new secret. Tenancy, scopes, limits, quotas and the audit log
therefore apply to connected apps as they do to all keys, and revoking the key disconnects the app.

A refresh token is signed, and contains its generation and its grant's id. Reusing an earlier generation
therefore reveals that a token was stolen, without a table of used tokens.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from django.core.signing import BadSignature, Signer
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from console import staff
from console.models import OAuthClient, OAuthGrant
from console.oauth.protocol import OAuthError, matches
from somamemory.errors import NotFound, SomaError
from tenants import audit, keys
from tenants.audit import Change
from tenants.caller import Caller
from tenants.models import ApiKey

CODE_LIFETIME = timedelta(minutes=1)
ACCESS_LIFETIME = timedelta(minutes=15)
REFRESH_LIFETIME = timedelta(days=30)
GRANT_LIFETIME = timedelta(days=365)  # afterwards, a grant expires even if it is in use
MAX_TOKEN_LENGTH = 512
_PREFIX = "soma_refresh_"
_signer = Signer(salt="console.oauth.refresh", sep=".")


@dataclass(frozen=True)
class Rights:
    """A grant's permissions.

    If `namespaces` is empty, they cover the whole tenant. If `user_id` is None, they cover all users' data.
    """

    scopes: Sequence[str]
    namespaces: Sequence[str] = ()
    user_id: str | None = None


@dataclass(frozen=True)
class AuthorizationRequest:
    """A valid request from an app, which needs a user's consent."""

    client: OAuthClient
    redirect_uri: str
    resource: str
    code_challenge: str


@dataclass(frozen=True)
class TokenRequest:
    """A request to the token endpoint.

    secret: a code, or a token.
    verifier: the code verifier (PKCE).
    scopes: the scopes that a refresh requests; if empty, all of the grant's scopes.
    redirect_uri, resource: None if not sent.
    request_id, address: for the audit log.
    """

    client: OAuthClient
    secret: str
    verifier: str = ""
    scopes: Sequence[str] = ()
    redirect_uri: str | None = None
    resource: str | None = None
    request_id: str = ""
    address: str = ""

    def check(self, grant: OAuthGrant) -> None:
        """Raise OAuthError if the request contradicts the authorization."""
        if self.resource not in (None, grant.resource):
            raise OAuthError("invalid_target", "resource differs from that in the authorization request")
        if self.redirect_uri not in (None, grant.redirect_uri):
            raise OAuthError("invalid_grant", "redirect_uri differs from that in the authorization request")
        if grant.expires_at <= timezone.now():
            raise OAuthError("invalid_grant", "the code or token has expired")


@dataclass(frozen=True)
class Tokens:
    access_token: str
    refresh_token: str
    scopes: Sequence[str]


def approve(caller: Caller, user_id: int, request: AuthorizationRequest, rights: Rights) -> str:
    """Create a grant, and return a code for the app. Raises Forbidden and InvalidInput if the caller lacks a
    permission.

    user_id: the id of the staff user who approves.
    """
    keys.check_delegable(caller, rights.scopes, rights.namespaces, rights.user_id)
    code = secrets.token_urlsafe(32)
    with transaction.atomic():
        grant = OAuthGrant.objects.create(
            tenant=caller.tenant,
            client=request.client,
            approved_by_id=user_id,
            scopes=list(rights.scopes),
            namespaces=list(rights.namespaces),
            user_id=rights.user_id,
            resource=request.resource,
            redirect_uri=request.redirect_uri,
            code_challenge=request.code_challenge,
            code_digest=_digest(code),
            expires_at=timezone.now() + CODE_LIFETIME,
        )
        audit.record(caller, "grant.approve", [Change(str(grant.id), None, _facts(grant))])
    return code


def exchange(request: TokenRequest) -> Tokens:
    """Exchange a code for the first tokens. Raises OAuthError if the code is not valid.

    Using a code twice also revokes the grant.
    """
    with transaction.atomic():
        of_code = OAuthGrant.objects.filter(client=request.client, code_digest=_digest(request.secret))
        grant = of_code.select_for_update().first()
        if grant is None or grant.revoked_at:
            raise OAuthError("invalid_grant", "the code is unknown, or was issued to another client")
        if grant.code_used_at is None:
            return _first_tokens(grant, request)
        _revoke(_recorder(grant, request), grant)
    raise OAuthError("invalid_grant", "the code has been used before, so its tokens have been revoked")


def _first_tokens(grant: OAuthGrant, request: TokenRequest) -> Tokens:
    request.check(grant)
    if not matches(request.verifier, grant.code_challenge):
        raise OAuthError("invalid_grant", "code_verifier does not match the code_challenge")
    caller = _caller(grant, request)
    try:
        issued = keys.delegate(
            caller,
            name=grant.client.name,
            scopes=grant.scopes,
            namespaces=grant.namespaces,
            user_id=grant.user_id,
            resource=grant.resource,
            expires_at=timezone.now() + ACCESS_LIFETIME,
        )
    except SomaError as error:  # the user has lost a permission since the consent, or the key quota is exhausted
        raise OAuthError("invalid_grant", error.detail) from error
    grant.key, grant.code_used_at = issued.key, timezone.now()
    return Tokens(issued.secret, _next_refresh_token(grant), issued.key.scopes)


def refresh(request: TokenRequest) -> Tokens:
    """Replace a grant's tokens. Raises OAuthError if the refresh token is not valid.

    Using a refresh token twice also revokes the grant.
    """
    grant_id, generation = _parsed(request.secret)
    with transaction.atomic():
        grant = _locked(request.client, grant_id)
        digest = _digest(request.secret)
        if generation == grant.generation and hmac.compare_digest(bytes(grant.refresh_digest), digest):
            return _new_tokens(grant, request)
        _revoke(_recorder(grant, request), grant)
    raise OAuthError("invalid_grant", "the refresh token has been used before, so the grant has been revoked")


def _new_tokens(grant: OAuthGrant, request: TokenRequest) -> Tokens:
    request.check(grant)
    if not set(request.scopes) <= set(grant.scopes):
        raise OAuthError("invalid_scope", "a refresh cannot add scopes; request a new authorization")
    caller, key = _caller(grant, request), _key(grant)
    held = [scope for scope in request.scopes or grant.scopes if scope in caller.scopes]
    if not held:
        raise OAuthError(
            "invalid_grant", "the user who approved the app no longer has these scopes; request a new authorization"
        )
    issued = keys.renew(caller, key, held, timezone.now() + ACCESS_LIFETIME)
    return Tokens(issued.secret, _next_refresh_token(grant), held)


def revoke_token(request: TokenRequest) -> None:
    """Revoke the grant to which an access or refresh token belongs (RFC 7009). Invalid tokens are ignored."""
    with transaction.atomic():
        try:
            is_refresh = request.secret.startswith(_PREFIX)
            grant_id = _parsed(request.secret)[0] if is_refresh else _of_access(request.secret)
            grant = _locked(request.client, grant_id)
        except OAuthError:
            return
        _revoke(_recorder(grant, request), grant)


def revoke(caller: Caller, grant: OAuthGrant) -> None:
    """Disconnect a grant's app. The calling code must have checked the caller's permissions."""
    with transaction.atomic():
        _revoke(caller, OAuthGrant.objects.select_for_update().get(id=grant.id))


def remove_ended() -> None:
    """Delete grants that can no longer be used, and their keys. The audit log keeps their history."""
    now = timezone.now()
    ended = Q(expires_at__lt=now) | Q(revoked_at__lt=now - CODE_LIFETIME) | Q(key__revoked_at__lt=now - CODE_LIFETIME)
    grants = list(OAuthGrant.objects.filter(ended).values_list("id", "key_id")[:1_000])
    with transaction.atomic():
        OAuthGrant.objects.filter(id__among=[grant_id for grant_id, _ in grants]).delete()
        ApiKey.objects.filter(id__among=[key_id for _, key_id in grants]).exclude(resource="").delete()


def _locked(client: OAuthClient, grant_id: UUID) -> OAuthGrant:
    live = Q(revoked_at=None, key__revoked_at=None)
    grant = OAuthGrant.objects.select_for_update(of=("self",)).filter(live, id=grant_id, client=client).first()
    if grant is None or grant.key_id is None:
        raise OAuthError("invalid_grant", "the grant has been revoked, or belongs to another client")
    return grant


def _of_access(token: str) -> UUID:
    key = keys.find(token)
    grant_id = OAuthGrant.objects.filter(key_id=key.id).values_list("id", flat=True).first() if key else None
    if grant_id is None:
        raise OAuthError("invalid_grant", "unknown token")
    return grant_id


def _parsed(token: str) -> tuple[UUID, int]:
    """Return the grant id and generation in a refresh token. Raises OAuthError unless this server signed the token."""
    try:
        grant_id, generation, _ = _signer.unsign(token[:MAX_TOKEN_LENGTH].removeprefix(_PREFIX)).split(".")
        return UUID(hex=grant_id), int(generation)
    except (BadSignature, ValueError):
        raise OAuthError("invalid_grant", "unknown refresh token") from None


def _next_refresh_token(grant: OAuthGrant) -> str:
    grant.generation += 1
    token = _PREFIX + _signer.sign(f"{grant.id.hex}.{grant.generation}.{secrets.token_urlsafe(32)}")
    grant.refresh_digest = _digest(token)
    grant.expires_at = min(timezone.now() + REFRESH_LIFETIME, grant.created_at + GRANT_LIFETIME)
    grant.save(update_fields=["key", "code_used_at", "generation", "refresh_digest", "expires_at"])
    return token


def _caller(grant: OAuthGrant, request: TokenRequest) -> Caller:
    """Return the user who approved the app as a caller, with the user's current permissions.

    Raises OAuthError if the user no longer has access to the tenant, or if the tenant is suspended.
    """
    try:
        caller = staff.caller_of(grant.approved_by, grant.tenant, request.request_id, request.address)
    except NotFound:
        raise OAuthError("invalid_grant", "the user who approved the app no longer has access to the tenant") from None
    if not grant.tenant.active:
        raise OAuthError("invalid_grant", "the tenant is suspended; an operator can resume it")
    return caller


def _recorder(grant: OAuthGrant, request: TokenRequest) -> Caller:
    """Return the caller for a revocation, which requires no permission."""
    actor = staff.actor(grant.approved_by)
    return Caller(grant.tenant, actor, frozenset(), request_id=request.request_id, address=request.address)


def _key(grant: OAuthGrant) -> ApiKey:
    assert grant.key is not None  # noqa: S101 - a grant with a refresh token has a key
    return grant.key


def _revoke(caller: Caller, grant: OAuthGrant) -> None:
    if grant.revoked_at is not None:
        return
    before = _facts(grant)
    grant.revoked_at = timezone.now()
    grant.save(update_fields=["revoked_at"])
    audit.record(caller.acting_for(grant.tenant), "grant.revoke", [Change(str(grant.id), before, _facts(grant))])
    if grant.key is not None:
        keys.revoke_delegated(caller.acting_for(grant.tenant), grant.key)


def _facts(grant: OAuthGrant) -> bytes:
    rights = (grant.scopes, grant.namespaces, grant.user_id or "")
    return audit.fingerprint(grant.client.client_id, *rights, grant.resource, grant.redirect_uri, grant.revoked_at)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()
