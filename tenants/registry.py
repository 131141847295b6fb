"""What belongs to tenants, read off the models: a new one is exported, counted and erased from its first day on."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.db.models import ForeignKey, Model, QuerySet

from tenants.models import Tenant
from tenants.scoping import TenantOwned


def owned() -> list[type[Model]]:
    """Every model with a tenant, by the name of its table."""
    return sorted((model for model in apps.get_models() if _has_tenant(model)), key=lambda model: model._meta.db_table)


def rows(model: type[Model], tenant: Tenant) -> QuerySet[Any]:
    """What a tenant has of it; the tenant itself may be gone already."""
    if issubclass(model, TenantOwned):
        return model.objects.for_tenant(tenant)
    return model.objects.filter(tenant=tenant)  # type: ignore[attr-defined, no-any-return]


def _has_tenant(model: type[Model]) -> bool:
    return any(
        isinstance(field, ForeignKey) and field.name == "tenant" and field.related_model is Tenant
        for field in model._meta.fields
    )
