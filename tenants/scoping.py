"""Tenant isolation: a tenant's rows can only be queried through `Model.objects.for_tenant(tenant)`.

A tenant's users are isolated in the same way. If the caller's key is limited to a user, the caller's tenant is
narrowed (`Tenant.narrowed_to`), and `for_tenant` returns only that user's rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

from django.db import models

from somamemory.db.prepared import Parameter

if TYPE_CHECKING:
    from tenants.models import Tenant

Row = TypeVar("Row", bound="TenantOwned", covariant=True)


class UnscopedQuery(RuntimeError):
    """Raised for a query without a tenant. Such a query is always a bug in our code, never the caller's mistake."""


class TenantManager(models.Manager[Row]):
    def get_queryset(self) -> models.QuerySet[Row]:
        raise UnscopedQuery(f"use {self.model.__name__}.objects.for_tenant(tenant)")

    def for_tenant(self, tenant: Tenant) -> models.QuerySet[Row]:
        owner: Any = self.model._meta.get_field("tenant").related_model
        if not isinstance(tenant, owner):
            raise UnscopedQuery(f"for_tenant() requires a tenant, not {tenant!r}")
        rows = super().get_queryset().filter(tenant=tenant)
        if tenant.only_user is None or self.model.user_lookup is None:
            return rows
        return rows.filter(**{self.model.user_lookup: tenant.only_user})

    def of_parameter(self, *, limited: bool) -> models.QuerySet[Row]:
        """Return the rows of the tenant that is passed to a prepared statement as a parameter (see `parameters_of`).

        limited: whether the tenant is narrowed to a user.
        """
        rows = super().get_queryset().filter(tenant=Parameter("tenant", self.model, "tenant"))
        if not limited or self.model.user_lookup is None:
            return rows
        return rows.filter(**{self.model.user_lookup: Parameter("only_user", self.model, self.model.user_lookup)})


def parameters_of(tenant: Tenant) -> dict[str, Any]:
    """Return the parameters of a statement that was built with `of_parameter`."""
    return {"tenant": tenant.id, "only_user": tenant.only_user}


class TenantOwned(models.Model):
    """Base class for all models that belong to a tenant."""

    # No database constraint, because every insert would then lock (and write to) its tenant's row.
    tenant = models.ForeignKey(
        "tenants.Tenant", on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )

    # The lookup from a row to its user. None if the rows of this table belong to no user.
    user_lookup: ClassVar[str | None] = None

    may_be_read_from_replica = True  # by selectors with @may_read_replica: see somamemory.db.replicas

    # For jobs that serve all tenants. tests/contract/test_tenant_scoping.py lists the files that may use it.
    all_tenants: ClassVar[models.Manager[Self]] = models.Manager()
    objects: ClassVar[TenantManager[Any]] = TenantManager()

    class Meta:
        abstract = True
        default_manager_name = "all_tenants"
        base_manager_name = "all_tenants"
