"""The only writers of tenants."""

from __future__ import annotations

from django.db import transaction

from somamemory.errors import Conflict, InvalidInput
from tenants import audit
from tenants.caller import Caller
from tenants.models import Tenant, is_slug


def create_tenant(caller: Caller, slug: str, name: str = "") -> Tenant:
    caller.require_operator()
    if not is_slug(slug):
        raise InvalidInput("slug", "1 to 63 of a-z, 0-9, '-' and '_', beginning and ending with a letter or digit")
    with transaction.atomic():
        tenant, created = Tenant.objects.get_or_create(slug=slug, defaults={"name": name})
        if not created:
            raise Conflict(f"the tenant '{slug}' exists already")
        audit.record(caller.acting_for(tenant), "tenant.create", [slug])
    return tenant
