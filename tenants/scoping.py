"""The wall. A tenant's rows are reached through `Model.objects.for_tenant(tenant)`, or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

from django.db import models

if TYPE_CHECKING:
    from tenants.models import Tenant

Row = TypeVar("Row", bound="TenantOwned", covariant=True)


class UnscopedQuery(RuntimeError):
    """Somebody asked for rows without saying whose. A bug, never a caller's mistake."""


class TenantManager(models.Manager[Row]):
    def get_queryset(self) -> models.QuerySet[Row]:
        raise UnscopedQuery(f"say {self.model.__name__}.objects.for_tenant(tenant)")

    def for_tenant(self, tenant: Tenant) -> models.QuerySet[Row]:
        owner: Any = self.model._meta.get_field("tenant").related_model
        if not isinstance(tenant, owner):
            raise UnscopedQuery(f"a tenant is needed, not {tenant!r}")
        return super().get_queryset().filter(tenant=tenant)


class TenantOwned(models.Model):
    """Base of everything a tenant owns."""

    # No database constraint: with one, every insert takes a lock on (and writes to) its tenant's single row.
    tenant = models.ForeignKey(
        "tenants.Tenant", on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )

    may_be_read_from_replica = True  # by the selectors that say so: see somamemory.replicas

    # For the few jobs that serve all tenants; tests/contract/test_wall.py lists the files that may say it.
    all_tenants: ClassVar[models.Manager[Self]] = models.Manager()
    objects: ClassVar[TenantManager[Any]] = TenantManager()

    class Meta:
        abstract = True
        default_manager_name = "all_tenants"
        base_manager_name = "all_tenants"
