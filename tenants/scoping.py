"""The tenancy wall: a tenant's rows can only be queried through `Model.objects.for_tenant(tenant)`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

from django.db import models

from somamemory.db.prepared import Parameter

if TYPE_CHECKING:
    from tenants.models import Tenant

Row = TypeVar("Row", bound="TenantOwned", covariant=True)


class UnscopedQuery(RuntimeError):
    """Raised for a query without a tenant. Always a bug in the code, never the caller's mistake."""


class TenantManager(models.Manager[Row]):
    def get_queryset(self) -> models.QuerySet[Row]:
        raise UnscopedQuery(f"use {self.model.__name__}.objects.for_tenant(tenant)")

    def for_tenant(self, tenant: Tenant) -> models.QuerySet[Row]:
        owner: Any = self.model._meta.get_field("tenant").related_model
        if not isinstance(tenant, owner):
            raise UnscopedQuery(f"for_tenant() requires a tenant, not {tenant!r}")
        return super().get_queryset().filter(tenant=tenant)

    def of_parameter(self) -> models.QuerySet[Row]:
        """Return the rows of the tenant that a prepared statement gets as its parameter `tenant`."""
        return super().get_queryset().filter(tenant=Parameter("tenant", self.model, "tenant"))


class TenantOwned(models.Model):
    """Base class of all models that belong to a tenant."""

    # No database constraint, because every insert would then lock (and write to) its tenant's row.
    tenant = models.ForeignKey(
        "tenants.Tenant", on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )

    may_be_read_from_replica = True  # by selectors with @may_read_replica: see somamemory.db.replicas

    # For jobs that serve all tenants. tests/contract/test_wall.py lists the files that may use it.
    all_tenants: ClassVar[models.Manager[Self]] = models.Manager()
    objects: ClassVar[TenantManager[Any]] = TenantManager()

    class Meta:
        abstract = True
        default_manager_name = "all_tenants"
        base_manager_name = "all_tenants"
