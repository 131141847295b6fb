"""The signed-in staff user as a caller of services and selectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, User
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest

from somamemory.errors import NotFound
from somamemory.web.request_state import state_of
from tenants.caller import Caller
from tenants.models import DEFAULT_TENANT_SLUG, AuditEvent, Tenant

# The Django permission that each scope requires.
SCOPES = {
    "read": "memories.view_memory",
    "write": "memories.change_memory",
    "delete": "memories.delete_memory",
    "admin": "tenants.change_tenant",
}
CHOICES = 1_000
_ACTOR_LENGTH: Any = AuditEvent._meta.get_field("actor").max_length


def tenants_of(user: AbstractBaseUser | AnonymousUser) -> QuerySet[Tenant]:
    """Return the tenants that a user can access: all tenants for a superuser, and only the assigned ones for other
    users.
    """
    if not user.is_active or not getattr(user, "is_staff", False):
        return Tenant.objects.none()
    if getattr(user, "is_superuser", False):
        return Tenant.objects.all()
    return Tenant.objects.filter(staff__user_id=user.pk)


def slugs(user: AbstractBaseUser | AnonymousUser) -> list[str]:
    """Return the slugs of the user's tenants, up to the limit for a drop-down list."""
    return list(tenants_of(user).order_by("slug").values_list("slug", flat=True)[:CHOICES])


def tenant_named(request: HttpRequest, slug: str) -> Tenant:
    """Return the tenant with this slug. Raises NotFound if it does not exist or the user cannot access it."""
    tenant = tenants_of(request.user).filter(slug=slug).first()
    if tenant is None:
        raise NotFound(f"tenant '{slug}' does not exist")
    return tenant


def chosen_tenant(request: HttpRequest, default: Tenant | None = None) -> Tenant | None:
    """Return the tenant for the page: the requested one, otherwise the last used, otherwise the first.

    default: the default tenant, if it has been read already; saves superusers a query.

    Returns None if the user has access to no tenants. Raises NotFound for a tenant that the user cannot access.
    """
    known: Tenant | None = getattr(request, "soma_tenant", None)
    if known is not None:
        return known
    if slug := request.GET.get("tenant", ""):
        chosen: Tenant | None = tenant_named(request, slug)
        if request.session.get("tenant") != slug:
            request.session["tenant"] = slug
    else:
        mine, last = tenants_of(request.user), request.session.get("tenant", DEFAULT_TENANT_SLUG)
        is_default = default is not None and default.slug == last and getattr(request.user, "is_superuser", False)
        chosen = (default if is_default else mine.filter(slug=last).first()) or mine.order_by("slug").first()
    request.soma_tenant = chosen  # type: ignore[attr-defined]
    return chosen


def chosen_namespace(request: HttpRequest, there: Sequence[str]) -> str:
    """Return the requested namespace, or `default` if none is requested, or the first one if there is no `default`."""
    usual = "default" if "default" in there or not there else there[0]
    return request.GET.get("namespace") or usual


def caller(request: HttpRequest, tenant: Tenant, *, permission: str = "") -> Caller:
    """Return the staff user as a caller for one of their tenants, with the scopes that their permissions grant.

    With `permission`, the user acts as an operator for the one call that requires this Django permission, because
    services have no finer-grained permission for administration. Raises NotFound or PermissionDenied.
    """
    user = request.user
    is_checked = getattr(request, "soma_tenant", None) is tenant  # by `chosen_tenant`
    if not is_checked and not tenants_of(user).filter(pk=tenant.pk).exists():
        raise NotFound(f"tenant '{tenant.slug}' does not exist")
    if permission and not _has(user, permission):
        raise PermissionDenied
    return Caller(
        tenant=tenant,
        actor=actor(user),
        scopes=frozenset(scope for scope, needed in SCOPES.items() if permission or _has(user, needed)),
        operator=bool(permission) or bool(getattr(user, "is_superuser", False)),
        request_id=state_of(request).request_id,
        address=state_of(request).client_address,
    )


def caller_of(user: User, tenant: Tenant, request_id: str, address: str) -> Caller:
    """Return a staff user, who need not be signed in, as a caller with the scopes that their permissions grant.

    Raises NotFound for a tenant that the user cannot access.
    """
    if not tenants_of(user).filter(pk=tenant.pk).exists():
        raise NotFound(f"tenant '{tenant.slug}' does not exist")
    scopes = frozenset(scope for scope, needed in SCOPES.items() if user.has_perm(needed))
    return Caller(tenant=tenant, actor=actor(user), scopes=scopes, request_id=request_id, address=address)


def installation_caller(request: HttpRequest) -> Caller:
    """Return a superuser as a caller for the installation. Like a command, it is recorded under the default tenant."""
    if not getattr(request.user, "is_superuser", False):
        raise PermissionDenied
    return caller(request, Tenant.objects.get(slug=DEFAULT_TENANT_SLUG))


def recorder(request: HttpRequest, tenant: Tenant | None = None) -> Caller:
    """Return the signed-in user as a caller without permissions, for the audit log only."""
    return Caller(
        tenant=tenant or Tenant.objects.get(slug=DEFAULT_TENANT_SLUG),
        actor=actor(request.user),
        scopes=frozenset(),
        request_id=state_of(request).request_id,
        address=state_of(request).client_address,
    )


def actor(user: Any) -> str:
    """Return an actor such as `staff:7:name`. The number stays valid if the name is changed or truncated."""
    name: str = user.get_username()
    return f"staff:{user.pk}:{name}"[:_ACTOR_LENGTH]


def _has(user: AbstractBaseUser | AnonymousUser, permission: str) -> bool:
    return isinstance(user, User) and user.has_perm(permission)
