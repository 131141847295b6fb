"""Create, rotate, revoke and authenticate API keys.

`key_form` defines what a key looks like.
"""

from __future__ import annotations

import hmac
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from cachetools import TTLCache
from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from somamemory.db import tenant_scope
from somamemory.errors import Conflict, Forbidden, InvalidInput, NotFound, QuotaExceeded, Unauthenticated
from tenants import audit, key_form, key_usage, selectors
from tenants.audit import Change
from tenants.caller import SCOPES, Caller
from tenants.models import DEFAULT_TENANT_SLUG, ApiKey, Tenant, is_slug, problem_with_id

ROTATION_OVERLAP = timedelta(hours=24)

# Recently used keys and tenants. A revoked key remains valid in this process for at most KEY_CACHE_S seconds.
_keys: TTLCache[bytes, ApiKey] = TTLCache(maxsize=10_000, ttl=settings.KEY_CACHE_S)
_tenants: TTLCache[str, Tenant] = TTLCache(maxsize=10_000, ttl=settings.KEY_CACHE_S)
_lock = threading.Lock()  # TTLCache is not thread-safe


@dataclass(frozen=True)
class IssuedKey:
    """A new key with its secret, which is not stored and cannot be shown again."""

    key: ApiKey
    secret: str


def issue(
    caller: Caller,
    tenant: Tenant | None,
    *,
    name: str = "",
    scopes: Sequence[str] = ("read", "write", "delete"),
    namespaces: Iterable[str] = (),
    user_id: str | None = None,
    expires_at: datetime | None = None,
    secret: str | None = None,
    style: str = "soma",
) -> IssuedKey:
    """Create a key for `tenant`, or an operator key if `tenant` is None. `secret` imports an existing secret.

    user_id: limits the key to one user's data.

    Raises InvalidInput, QuotaExceeded, and Conflict if a key with this secret exists.
    """
    caller.require_operator()
    _check_scopes(scopes)
    _check_user(tenant, scopes, user_id)
    if expires_at is not None and expires_at <= timezone.now():
        raise InvalidInput("expires_at", "must be in the future")
    token = key_form.generate(style) if secret is None else key_form.check_secret(secret)
    columns = {
        "name": name,
        "scopes": _sorted(scopes),
        "namespaces": sorted(set(namespaces)),
        "user_id": user_id,
        "expires_at": expires_at,
    }
    return _create(caller, tenant, token, columns)


def delegate(
    caller: Caller,
    *,
    name: str,
    scopes: Sequence[str],
    namespaces: Sequence[str],
    user_id: str | None,
    resource: str,
    expires_at: datetime,
) -> IssuedKey:
    """Create a key for an app that the caller connects. The key is valid only at one URL (`resource`).

    The key has no permission that the caller lacks.

    Raises Forbidden, InvalidInput and QuotaExceeded.
    """
    check_delegable(caller, scopes, namespaces, user_id)
    columns = {
        "name": name,
        "scopes": _sorted(scopes),
        "namespaces": sorted(set(namespaces)),
        "user_id": user_id,
        "resource": resource,
        "expires_at": expires_at,
    }
    return _create(caller, caller.tenant, key_form.generate(), columns)


def check_delegable(caller: Caller, scopes: Sequence[str], namespaces: Sequence[str], user_id: str | None) -> None:
    """Raise Forbidden or InvalidInput unless the caller can grant these permissions."""
    _check_scopes(scopes)
    _check_user(caller.tenant, scopes, user_id)
    for scope in scopes:
        caller.require(scope, namespaces)


def renew(caller: Caller, key: ApiKey, scopes: Sequence[str], expires_at: datetime) -> IssuedKey:
    """Replace a delegated key's secret and scopes. Raises Conflict if the key has been revoked."""
    token = key_form.generate(prefix=key.prefix)
    with transaction.atomic():
        key = ApiKey.objects.select_for_update().get(id=key.id)
        if key.revoked_at is not None:
            raise Conflict(f"API key '{key.prefix}' has been revoked; connect the app again")
        before = _facts(key)
        key.digest, key.scopes, key.expires_at = key_form.digest_of(token), _sorted(scopes), expires_at
        key.save(update_fields=["digest", "scopes", "expires_at"])
        audit.record(caller, "key.renew", [Change(key.prefix, before, _facts(key))])
    forget_cached()
    return IssuedKey(key, token)


def _create(caller: Caller, tenant: Tenant | None, token: str, columns: dict[str, Any]) -> IssuedKey:
    """Save a new key with this secret. Raises QuotaExceeded, and Conflict if a key with this secret exists."""
    columns = {**columns, "tenant": tenant, "prefix": key_form.prefix_of(token)}
    with transaction.atomic():
        if tenant is not None:
            _check_quota(tenant)
        key, created = ApiKey.objects.get_or_create(digest=key_form.digest_of(token), defaults=columns)
        if not created:
            raise Conflict("a key with this secret already exists; use another secret")
        audit.record(caller.acting_for(tenant or caller.tenant), "key.issue", [Change(key.prefix, None, _facts(key))])
    return IssuedKey(key, token)


def _sorted(scopes: Iterable[str]) -> list[str]:
    return sorted(set(scopes), key=SCOPES.index)


def _check_scopes(scopes: Sequence[str]) -> None:
    if unknown := set(scopes) - set(SCOPES):
        raise InvalidInput(
            "scopes", f"contains unknown scopes: {', '.join(sorted(unknown))}; choose from {', '.join(SCOPES)}"
        )
    if not scopes:
        raise InvalidInput("scopes", "must contain at least one scope")


def _check_user(tenant: Tenant | None, scopes: Sequence[str], user_id: str | None) -> None:
    if user_id is None:
        return
    if (problem := problem_with_id(user_id)) is not None:
        raise InvalidInput("user_id", problem)
    if tenant is None:
        raise InvalidInput("user_id", "cannot be combined with an operator key; create a tenant key instead")
    if "admin" in scopes:
        raise InvalidInput("scopes", "must not contain 'admin' for a key that is limited to a user; omit that scope")


def rotate(
    caller: Caller,
    prefix: str,
    tenant: Tenant | None,
    overlap: timedelta = ROTATION_OVERLAP,
    style: str = "soma",
) -> IssuedKey:
    """Replace a key, given its prefix, with a new one that has the same permissions.

    The old key remains valid for `overlap`. During the overlap, the tenant may exceed its quota by one key.

    Raises NotFound, QuotaExceeded, and Conflict if the key has expired, has been revoked or belongs to a connected app.
    """
    caller.require_operator()
    now, token = timezone.now(), key_form.generate(style)
    with transaction.atomic():
        if tenant is not None and overlap:
            _check_quota(tenant, beyond=1)
        old = _locked(prefix, tenant)
        if _is_inactive(old):
            raise Conflict(f"API key '{prefix}' has expired or been revoked; create a new key")
        if old.resource:
            raise Conflict(f"API key '{prefix}' belongs to a connected app, which renews it; revoke it instead")
        new = ApiKey.objects.create(
            tenant=tenant,
            name=old.name,
            prefix=key_form.prefix_of(token),
            digest=key_form.digest_of(token),
            scopes=old.scopes,
            namespaces=old.namespaces,
            user_id=old.user_id,
            expires_at=old.expires_at,
        )
        before = _facts(old)
        old.expires_at = min(now + overlap, old.expires_at or now + overlap)
        old.save(update_fields=["expires_at"])
        changes = [Change(old.prefix, before, _facts(old)), Change(new.prefix, None, _facts(new))]
        audit.record(caller.acting_for(tenant or caller.tenant), "key.rotate", changes)
    forget_cached()
    return IssuedKey(new, token)


def revoke(caller: Caller, prefix: str, tenant: Tenant | None) -> ApiKey:
    """Revoke a key. Other processes reject it within `KEY_CACHE_S` seconds."""
    caller.require_operator()
    with transaction.atomic():
        key = _locked(prefix, tenant)
        _end(caller, key)
    forget_cached()
    return key


def revoke_delegated(caller: Caller, key: ApiKey) -> None:
    """Revoke a connected app's key. The calling code must check who may disconnect it."""
    with transaction.atomic():
        _end(caller, ApiKey.objects.select_for_update().get(id=key.id))
    forget_cached()


def _end(caller: Caller, key: ApiKey) -> None:
    if key.revoked_at is None:
        before = _facts(key)
        key.revoked_at = timezone.now()
        key.save(update_fields=["revoked_at"])
        change = Change(key.prefix, before, _facts(key))
        audit.record(caller.acting_for(key.tenant or caller.tenant), "key.revoke", [change])


def authenticate(
    token: str, tenant_slug: str | None, request_id: str = "", address: str = "", resource: str = ""
) -> Caller:
    """Return the caller for a key, acting for the tenant in the header.

    resource: the request URL, without the query.

    Raises Unauthenticated (401), Forbidden (403: the key does not belong to the tenant in the header) or NotFound (404:
    an operator key with an unknown tenant).
    """
    key = find(token)
    if key is None or _is_inactive(key):
        raise Unauthenticated
    key_usage.record(key, timezone.now())
    if key.resource not in (None, resource):
        raise Unauthenticated(
            "this access token was issued for a different URL; reconnect the app with this URL to get a new one"
        )
    if key.tenant is None:
        tenant = find_tenant(tenant_slug or DEFAULT_TENANT_SLUG)
    elif tenant_slug not in (None, key.tenant.slug):
        raise Forbidden(
            "this key does not belong to the tenant in the X-Tenant header; omit the header or use another key"
        )
    else:
        tenant = key.tenant
    if key.user_id is not None:
        tenant = tenant.narrowed_to(key.user_id)
    return Caller(
        tenant=tenant,
        actor=f"key:{key.prefix}",
        scopes=frozenset(key.scopes),
        namespaces=frozenset(key.namespaces),
        operator=key.tenant is None,
        request_id=request_id,
        key_id=key.id,
        delegated=key.resource is not None,
        address=address,
    )


def find_tenant(slug: str) -> Tenant:
    """Return an active tenant by slug, from the cache if it is fresh. Raises NotFound."""
    with _lock:
        cached = _tenants.get(slug)
    if cached is not None:
        return cached
    with tenant_scope.crossing():
        tenant = Tenant.objects.filter(slug=slug).first() if is_slug(slug) else None
    if tenant is None:
        raise NotFound(f"tenant '{slug}' does not exist")
    if not tenant.active:
        raise NotFound(f"tenant '{slug}' is suspended; resume it first")
    with _lock:
        _tenants[slug] = tenant
    return tenant


def forget_cached() -> None:
    """Clear this process's cached keys and tenants."""
    with _lock:
        _keys.clear()
        _tenants.clear()


def find(token: str) -> ApiKey | None:
    """Return the key with this secret, even if expired, unless it has been revoked or its tenant is suspended."""
    if not key_form.is_possible(token):
        return None
    digest = key_form.digest_of(token)
    with _lock:
        cached = _keys.get(digest)
    if cached is not None:
        return cached
    if key_form.is_mistyped(token):
        return None
    live = Q(tenant__isnull=True) | Q(tenant__active=True)
    with tenant_scope.crossing():
        rows = ApiKey.objects.filter(live, prefix=key_form.prefix_of(token), revoked_at=None)
        keys = list(rows.select_related("tenant")[:16])
    for key in keys:
        if hmac.compare_digest(bytes(key.digest), digest):
            with _lock:
                _keys[digest] = key
            return key
    return None


def _locked(prefix: str, tenant: Tenant | None) -> ApiKey:
    key = None
    if prefix.isascii() and prefix.isalnum():
        key = ApiKey.objects.select_for_update().filter(prefix=prefix, tenant=tenant).order_by("created_at").last()
    if key is None:
        raise NotFound(f"this tenant has no key with prefix '{prefix}'")
    return key


def _check_quota(tenant: Tenant, beyond: int = 0) -> None:
    """Raise QuotaExceeded if the tenant already has as many keys as its quota allows, plus `beyond`.

    The check is exact, because creating a key locks the tenant's row. Other than that, only changes to the tenant
    itself lock that row.
    """
    quota = Tenant.objects.select_for_update().values_list("quota_keys", flat=True).get(id=tenant.id)
    if quota is not None and (count := selectors.live_keys(tenant).count()) >= quota + beyond:
        raise QuotaExceeded(f"the tenant has {count:,} active keys and its quota is {quota:,}; revoke a key first")


def _facts(key: ApiKey) -> bytes:
    """Return a hash of a key's columns, except its secret, for the audit log."""
    limits = [key.namespaces, *(limit for limit in (key.user_id, key.resource) if limit)]
    return audit.fingerprint(key.prefix, key.name, key.scopes, *limits, key.expires_at, key.revoked_at)


def _is_inactive(key: ApiKey) -> bool:
    return key.revoked_at is not None or (key.expires_at is not None and key.expires_at <= timezone.now())
