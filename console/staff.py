"""Who is signed in, and what they may do: members of staff as callers of services and selectors."""

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

# The permission of Django's that gives each scope.
SCOPES = {
    "read": "memories.view_memory",
    "write": "memories.change_memory",
    "delete": "memories.delete_memory",
    "admin": "tenants.change_tenant",
}
CHOICES = 1_000
_ACTOR_LENGTH: Any = AuditEvent._meta.get_field("actor").max_length


def tenants_of(user: AbstractBaseUser | AnonymousUser) -> QuerySet[Tenant]:
    """The tenants that somebody may see: all of them, for a superuser; none that was not given to them, for others."""
    if not user.is_active or not getattr(user, "is_staff", False):
        return Tenant.objects.none()
    if getattr(user, "is_superuser", False):
        return Tenant.objects.all()
    return Tenant.objects.filter(staff__user_id=user.pk)


def slugs(user: AbstractBaseUser | AnonymousUser) -> list[str]:
    """Their tenants, as many as there is room for in a list to choose from."""
    return list(tenants_of(user).order_by("slug").values_list("slug", flat=True)[:CHOICES])


def tenant_named(request: HttpRequest, slug: str) -> Tenant:
    """Raises NotFound, also for a tenant that is there and not for them."""
    tenant = tenants_of(request.user).filter(slug=slug).first()
    if tenant is None:
        raise NotFound(f"no tenant '{slug}'")
    return tenant


def chosen_tenant(request: HttpRequest) -> Tenant | None:
    """The tenant that the page is about: the one it names, else the one before, else the first. None: there is none.

    Raises NotFound for one that they may not see.
    """
    known: Tenant | None = getattr(request, "soma_tenant", None)
    if known is not None:
        return known
    if slug := request.GET.get("tenant", ""):
        chosen: Tenant | None = tenant_named(request, slug)
        if request.session.get("tenant") != slug:
            request.session["tenant"] = slug
    else:
        mine = tenants_of(request.user)
        before = mine.filter(slug=request.session.get("tenant", DEFAULT_TENANT_SLUG)).first()
        chosen = before or mine.order_by("slug").first()
    request.soma_tenant = chosen  # type: ignore[attr-defined]
    return chosen


def chosen_namespace(request: HttpRequest, there: Sequence[str]) -> str:
    """The namespace that the page names, else `default`, or the first when that is not there."""
    usual = "default" if "default" in there or not there else there[0]
    return request.GET.get("namespace") or usual


def caller(request: HttpRequest, tenant: Tenant, *, permission: str = "") -> Caller:
    """The member of staff, acting for a tenant that is theirs, with the scopes that their permissions give.

    With `permission` they act as an operator, for the one call that this permission of Django's is for: services know
    no finer right to do what is not a tenant's own business. Raises NotFound, PermissionDenied.
    """
    user = request.user
    if not tenants_of(user).filter(pk=tenant.pk).exists():
        raise NotFound(f"no tenant '{tenant.slug}'")
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


def installation_caller(request: HttpRequest) -> Caller:
    """A superuser, for what belongs to no tenant; written down under the default one, as commands are."""
    if not getattr(request.user, "is_superuser", False):
        raise PermissionDenied
    return caller(request, Tenant.objects.get(slug=DEFAULT_TENANT_SLUG))


def recorder(request: HttpRequest, tenant: Tenant | None = None) -> Caller:
    """Whoever is signed in, for the audit alone: without any right."""
    return Caller(
        tenant=tenant or Tenant.objects.get(slug=DEFAULT_TENANT_SLUG),
        actor=actor(request.user),
        scopes=frozenset(),
        request_id=state_of(request).request_id,
        address=state_of(request).client_address,
    )


def actor(user: Any) -> str:
    """`staff:7:name`; the number stays when the name changes, or is cut."""
    name: str = user.get_username()
    return f"staff:{user.pk}:{name}"[:_ACTOR_LENGTH]


def _has(user: AbstractBaseUser | AnonymousUser, permission: str) -> bool:
    return isinstance(user, User) and user.has_perm(permission)
