"""The tenants assigned to staff users."""

from __future__ import annotations

from django.conf import settings
from django.db import models

from tenants.models import Tenant


class StaffTenant(models.Model):
    """A tenant that a staff user can access. Superusers can access all tenants."""

    id = models.BigAutoField(primary_key=True)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="staff_tenants")
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="staff")

    class Meta:
        db_table = "sfm_staff_tenants"
        verbose_name = "accessible tenant"
        verbose_name_plural = "accessible tenants"
        constraints = [models.UniqueConstraint(fields=["user", "tenant"], name="sfm_staff_tenant")]

    def __str__(self) -> str:
        return f"{self.user} can access {self.tenant}"
