"""Inspect models to find those with a tenant, so that the rows of new models are exported and erased automatically."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.db.models import ForeignKey, Model, QuerySet

from tenants.models import Tenant
from tenants.scoping import TenantOwned


def tenant_models() -> list[type[Model]]:
    """Return every model with a tenant, ordered by table name."""
    return sorted((model for model in apps.get_models() if _has_tenant(model)), key=lambda model: model._meta.db_table)


def rows(model: type[Model], tenant: Tenant) -> QuerySet[Any]:
    """Return a tenant's rows, even if the tenant itself has been deleted."""
    if issubclass(model, TenantOwned):
        return model.objects.for_tenant(tenant)
    return model.objects.filter(tenant=tenant)  # type: ignore[attr-defined, no-any-return]


def _has_tenant(model: type[Model]) -> bool:
    return any(
        isinstance(field, ForeignKey) and field.name == "tenant" and field.related_model is Tenant
        for field in model._meta.fields
    )
