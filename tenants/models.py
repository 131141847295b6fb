"""Who is calling and what is theirs."""

from __future__ import annotations

import re
import uuid

from django.core.validators import RegexValidator
from django.db import models
from django.utils import timezone

from tenants.scoping import TenantOwned

SLUG_PATTERN = r"^[a-z0-9](?:[a-z0-9_-]{0,61}[a-z0-9])?$"
DEFAULT_TENANT_SLUG = "default"


def is_slug(text: str) -> bool:
    return re.fullmatch(SLUG_PATTERN, text) is not None


class Tenant(models.Model):
    """One customer of the installation. Everything stored belongs to exactly one."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    slug = models.CharField(max_length=63, unique=True, validators=[RegexValidator(SLUG_PATTERN)])
    name = models.CharField(max_length=255, blank=True)
    active = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        db_table = "sfm_tenants"

    def __str__(self) -> str:
        return self.slug


class ApiKey(models.Model):
    """A key's facts; never its secret. A key without a tenant is an operator's."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    tenant = models.ForeignKey(Tenant, null=True, blank=True, on_delete=models.CASCADE, related_name="keys")
    name = models.CharField(max_length=255, blank=True)
    # Not unique: the prefix of an imported secret is derived, and only the digest decides.
    prefix = models.CharField(max_length=16, db_index=True)
    digest = models.BinaryField(max_length=32, unique=True)
    scopes = models.JSONField(default=list)
    namespaces = models.JSONField(default=list, blank=True)  # empty: all of the tenant's
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "sfm_api_keys"

    def __str__(self) -> str:
        return self.prefix


class AuditEvent(models.Model):
    """What was changed, by whom. Written in the transaction of the change, never changed afterwards."""

    id = models.BigAutoField(primary_key=True)
    # No database constraint: each insert would lock the tenant's row, and it must outlive the tenant.
    tenant = models.ForeignKey(Tenant, null=True, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False)
    at = models.DateTimeField(default=timezone.now, editable=False)
    actor = models.CharField(max_length=64)  # "key:<prefix>" or "command"
    action = models.CharField(max_length=64)  # "memory.store"
    namespace = models.CharField(max_length=255, blank=True)
    target = models.CharField(max_length=2048)
    request_id = models.CharField(max_length=128, blank=True)

    class Meta:
        db_table = "sfm_audit_log"
        indexes = [models.Index(fields=["tenant", "at"], name="sfm_audit_tenant_at")]

    def __str__(self) -> str:
        return f"{self.action} {self.target}"


class IdempotencyKey(TenantOwned):
    """A request that has had its effect, and the answer to it. Written in the transaction of the effect."""

    id = models.BigAutoField(primary_key=True)
    key_id = models.UUIDField()  # of the API key; it may be deleted before this row is
    key = models.CharField(max_length=255)
    fingerprint = models.BinaryField(max_length=32)  # of the request
    answer = models.BinaryField()  # sealed: only the API key that asked can open it
    created_at = models.DateTimeField(default=timezone.now)

    class Meta(TenantOwned.Meta):
        db_table = "sfm_idempotency_keys"
        constraints = [
            models.UniqueConstraint(fields=["tenant", "key_id", "key"], name="sfm_idempotency_key"),
        ]
        indexes = [models.Index(fields=["created_at"], name="sfm_idempotency_age")]

    def __str__(self) -> str:
        return self.key
