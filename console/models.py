"""The tenants assigned to staff users, and their second factors."""

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


class SecondFactor(models.Model):
    """The second factor of a staff user who has turned it on: see `console.second_factor`."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, primary_key=True, related_name="second_factor"
    )
    secret = models.CharField(max_length=64)  # base32
    last_step = models.BigIntegerField()  # of the last accepted code, which is not accepted again
    recovery = models.JSONField(default=list)  # SHA-256 of the recovery codes that are left

    class Meta:
        db_table = "sfm_second_factors"

    def __str__(self) -> str:
        return f"second factor of user {self.user_id}"
