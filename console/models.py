"""Staff users' assigned tenants, second factors, and connected apps (OAuth)."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models
from django.utils import timezone

from tenants.models import MAX_ID_LENGTH, ApiKey, Tenant

MAX_URL_LENGTH = 500


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
    last_step = models.BigIntegerField()  # time step of the last accepted code, which is not accepted again
    recovery = models.JSONField(default=list)  # SHA-256 hashes of the unused recovery codes

    class Meta:
        db_table = "sfm_second_factors"

    def __str__(self) -> str:
        return f"second factor of user {self.user_id}"


class OAuthClient(models.Model):
    """An app that users can connect.

    Either the app has registered itself, or its `client_id` is the URL of its metadata document.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    client_id = models.CharField(max_length=MAX_URL_LENGTH, unique=True)
    name = models.CharField(max_length=200)
    redirect_uris = models.JSONField(default=list)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    fetched_at = models.DateTimeField(null=True)  # of the metadata document; None: the app has registered itself

    class Meta:
        db_table = "sfm_oauth_clients"

    def __str__(self) -> str:
        return self.name


class OAuthGrant(models.Model):
    """The permissions that a staff user has granted to an app, together with the app's code and refresh token.

    `key` is the access token: an API key that gets a new secret whenever the app refreshes the token.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="+")
    client = models.ForeignKey(OAuthClient, on_delete=models.CASCADE, related_name="grants")
    approved_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    key = models.OneToOneField(ApiKey, null=True, on_delete=models.CASCADE, related_name="grant")
    scopes = models.JSONField(default=list)
    namespaces = models.JSONField(default=list)  # empty: all namespaces of the tenant
    user_id = models.CharField(max_length=MAX_ID_LENGTH, null=True)  # noqa: DJ001 - "" is no user
    resource = models.CharField(max_length=MAX_URL_LENGTH)
    redirect_uri = models.CharField(max_length=MAX_URL_LENGTH)
    code_challenge = models.CharField(max_length=43)
    # SHA-256 of a random code. Like a key's prefix, it has no unique constraint.
    code_digest = models.BinaryField(max_length=32, db_index=True)
    code_used_at = models.DateTimeField(null=True)
    refresh_digest = models.BinaryField(max_length=32, default=b"")
    generation = models.PositiveIntegerField(default=0)  # number of the current refresh token
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField(db_index=True)  # expiry of the code or, once that is used, of the refresh token
    revoked_at = models.DateTimeField(null=True)

    exported = False  # belongs to this installation's console, not to the tenant's data

    class Meta:
        db_table = "sfm_oauth_grants"
        verbose_name = "connected app"

    def __str__(self) -> str:
        return f"{self.client} for {self.approved_by}"
