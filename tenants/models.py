"""Tenants, API keys, the audit log, usage and idempotency keys."""

from __future__ import annotations

import re
import unicodedata
import uuid
from copy import copy

from django.core.validators import RegexValidator
from django.db import models
from django.utils import timezone

from somamemory.db.leases import Leased
from tenants.scoping import TenantOwned

SLUG_PATTERN = r"^[a-z0-9](?:[a-z0-9_-]{0,61}[a-z0-9])?$"
DEFAULT_TENANT_SLUG = "default"
MAX_ID_LENGTH = 255  # maximum length of a user, agent or session id


def is_slug(text: str) -> bool:
    return re.fullmatch(SLUG_PATTERN, text) is not None


def problem_with_id(text: str) -> str | None:
    """Return the problem with a user, agent or session id, or None if the id is valid."""
    if not 1 <= len(text) <= MAX_ID_LENGTH:
        return f"must have 1 to {MAX_ID_LENGTH} characters"
    if any(unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") for letter in text):
        return "must not contain control characters, line separators or lone surrogates"
    return "must not begin or end with a space" if text != text.strip() else None


class Tenant(models.Model):
    """One customer of the installation. All stored data belongs to exactly one tenant."""

    class Tier(models.TextChoices):
        FREE = "free"
        STANDARD = "standard"
        PREMIUM = "premium"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    slug = models.CharField(max_length=63, unique=True, validators=[RegexValidator(SLUG_PATTERN)])
    name = models.CharField(max_length=255, blank=True)
    active = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    # Used as a metric label, so it has only a few values and never one per tenant.
    tier = models.CharField(max_length=16, choices=Tier.choices, default=Tier.STANDARD, db_default=Tier.STANDARD)
    # Empty: no limit. Enforced by `tenants.usage`.
    quota_memories = models.PositiveBigIntegerField(null=True, blank=True)
    quota_bytes = models.PositiveBigIntegerField(null=True, blank=True)
    quota_keys = models.PositiveBigIntegerField(null=True, blank=True)
    quota_requests_per_day = models.PositiveBigIntegerField(null=True, blank=True)
    quota_llm_tokens_per_day = models.PositiveBigIntegerField(null=True, blank=True)
    # Empty: the installation's limits, SOMA_LLM_MONTHLY_TOKENS and SOMA_LLM_MONTHLY_CENTS.
    quota_llm_tokens_per_month = models.PositiveBigIntegerField(null=True, blank=True)
    quota_llm_cents_per_month = models.PositiveBigIntegerField(null=True, blank=True)
    # Automatic enrichment of conversations. A suggested label is applied if its confidence is at least this value.
    auto_label = models.FloatField(null=True, blank=True)  # 0 to 1; empty: never
    extract_facts = models.BooleanField(default=False, db_default=False)
    # Days to keep earlier versions of memories. Empty: SOMA_HISTORY_DAYS.
    history_days = models.PositiveIntegerField(null=True, blank=True)
    # The history is complete from this time onwards. Empty: from the tenant's creation.
    history_since = models.DateTimeField(null=True, blank=True, editable=False)
    # Not a column: the only user whose rows `for_tenant` returns. None: all rows, with or without a user.
    only_user: str | None = None

    class Meta:
        db_table = "sfm_tenants"

    def __str__(self) -> str:
        return self.slug

    def narrowed_to(self, user_id: str | None) -> Tenant:
        """Return the tenant limited to this user's rows. None lifts the limit."""
        narrowed = copy(self)
        narrowed.only_user = user_id
        return narrowed


class ApiKey(models.Model):
    """An API key without its secret. A key without a tenant is an operator key."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    tenant = models.ForeignKey(Tenant, null=True, blank=True, on_delete=models.CASCADE, related_name="keys")
    name = models.CharField(max_length=255, blank=True)
    # Not unique: the prefix of an imported secret is derived from its digest. Only the digest identifies a key.
    prefix = models.CharField(max_length=16, db_index=True)
    digest = models.BinaryField(max_length=32, unique=True)
    scopes = models.JSONField(default=list)
    namespaces = models.JSONField(default=list, blank=True)  # empty: all namespaces of the tenant
    # The only user whose data the key can access. None: all of the tenant's data.
    user_id = models.CharField(max_length=MAX_ID_LENGTH, null=True, blank=True)  # noqa: DJ001 - "" is no user
    # The only URL at which the key is valid, for a connected app's access token. None: everywhere.
    resource = models.CharField(max_length=500, null=True, blank=True)  # noqa: DJ001 - "" is no URL
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)  # to the hour: see `tenants.key_usage`

    class Meta:
        db_table = "sfm_api_keys"
        verbose_name = "API key"

    def __str__(self) -> str:
        return self.prefix


class AuditEvent(models.Model):
    """One change and its actor. Written in the same transaction as the change and never updated.

    A trigger rejects updates, and deletions of rows that no checkpoint covers.
    """

    id = models.BigAutoField(primary_key=True)
    # No database constraint, because every insert would lock the tenant's row.
    tenant = models.ForeignKey(Tenant, null=True, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False)
    at = models.DateTimeField(default=timezone.now, editable=False)
    actor = models.CharField(max_length=64)  # such as "key:<prefix>", "staff:<id>:<name>" or "command"
    action = models.CharField(max_length=64)  # for example "memory.store"
    namespace = models.CharField(max_length=255, blank=True)
    target = models.CharField(max_length=2048)
    request_id = models.CharField(max_length=128, blank=True)
    address = models.CharField(max_length=45, blank=True, default="", db_default="")  # client address
    # SHA-256 of the state before the change; None: the object did not exist
    before_hash = models.BinaryField(max_length=32, null=True)
    after_hash = models.BinaryField(max_length=32, null=True)

    class Meta:
        db_table = "sfm_audit_log"
        indexes = [models.Index(fields=["tenant", "id"], name="sfm_audit_tenant_id")]

    def __str__(self) -> str:
        return f"{self.action} {self.target}"


class AuditBlock(TenantOwned):
    """Sealed rows of a tenant's log. Its hash includes the previous block's hash: see `tenants.audit.chain`."""

    id = models.BigAutoField(primary_key=True)
    number = models.PositiveBigIntegerField()  # 1, 2, 3, … within a tenant
    first_id = models.PositiveBigIntegerField()
    last_id = models.PositiveBigIntegerField()
    count = models.PositiveIntegerField()
    last_at = models.DateTimeField()
    sealed_at = models.DateTimeField()
    previous = models.BinaryField(max_length=32)
    hash = models.BinaryField(max_length=32)
    marks = models.BinaryField()  # show which rows were changed: see `chain.marks`
    signature = models.BinaryField(max_length=32)

    class Meta(TenantOwned.Meta):
        db_table = "sfm_audit_blocks"
        constraints = [models.UniqueConstraint(fields=["tenant", "number"], name="sfm_audit_block_number")]

    def __str__(self) -> str:
        return f"block {self.number}"


class AuditCheckpoint(TenantOwned):
    """A signed record that replaces all blocks up to `number`, and their rows, after the retention period.

    The signature also covers the previous checkpoint.
    """

    id = models.BigAutoField(primary_key=True)
    number = models.PositiveBigIntegerField()  # number of the last block it replaces
    last_id = models.PositiveBigIntegerField()
    hash = models.BinaryField(max_length=32)  # hash of that block
    at = models.DateTimeField()
    previous = models.BinaryField(max_length=32)
    signature = models.BinaryField(max_length=32)

    class Meta(TenantOwned.Meta):
        db_table = "sfm_audit_checkpoints"
        constraints = [models.UniqueConstraint(fields=["tenant", "number"], name="sfm_audit_checkpoint_number")]

    def __str__(self) -> str:
        return f"checkpoint at block {self.number}"


class AuditSealer(models.Model):
    """A single row with the sealer's signed progress: see `tenants.audit.progress`.

    Everything that changes the chains locks this row first: the sealer, the pruner and erasures.
    """

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    sealed_to = models.PositiveBigIntegerField(default=0)  # id of an audit event
    genesis = models.BinaryField(max_length=16, default=b"", db_default=b"")  # random, created with the installation
    signed_to = models.PositiveBigIntegerField(default=0, db_default=0)  # the last `sealed_to` that was signed
    accepted_to = models.PositiveBigIntegerField(default=0, db_default=0)  # an operator accepted the log up to this id
    chains = models.PositiveBigIntegerField(default=0, db_default=0)  # number of chains
    signature = models.BinaryField(max_length=32, default=b"", db_default=b"")
    published_to = models.PositiveBigIntegerField(default=0, db_default=0)  # id of a block; not signed

    class Meta:
        db_table = "sfm_audit_sealer"

    def __str__(self) -> str:
        return str(self.sealed_to)


class ErasedTenant(models.Model):
    """A record of an erased tenant, so that an operator can confirm the erasure.

    Only a digest of its slug is stored.
    """

    tenant_id = models.UUIDField(primary_key=True)
    slug_digest = models.BinaryField(max_length=32, db_index=True)
    erased_at = models.DateTimeField(default=timezone.now)
    confirmed_at = models.DateTimeField(null=True)  # by a second run, which removes data written during the first
    had_chain = models.BooleanField(default=False, db_default=False)  # whether it had sealed audit rows
    signature = models.BinaryField(max_length=32, null=True)  # see `tenants.audit.erasures`

    class Meta:
        db_table = "sfm_erased_tenants"

    def __str__(self) -> str:
        return str(self.tenant_id)


class IdempotencyKey(Leased, TenantOwned):
    """A request and its response, written in the same transaction as the effect.

    The row of a long request is written before the request begins, with a lease and without a response.
    """

    id = models.BigAutoField(primary_key=True)
    key_id = models.UUIDField()  # id of the API key, which may be deleted before this row
    key = models.CharField(max_length=255)
    fingerprint = models.BinaryField(max_length=32)  # fingerprint of the request
    # Encrypted; see `tenants.idempotency`. Empty while a long request is running.
    answer = models.BinaryField()
    created_at = models.DateTimeField(default=timezone.now)

    exported = False  # the responses are encrypted

    class Meta(TenantOwned.Meta):
        db_table = "sfm_idempotency_keys"
        constraints = [
            models.UniqueConstraint(fields=["tenant", "key_id", "key"], name="sfm_idempotency_key"),
        ]
        indexes = [models.Index(fields=["created_at"], name="sfm_idempotency_age")]

    def __str__(self) -> str:
        return self.key


class UsageStripe(TenantOwned):
    """Part of the usage stored for a tenant that has a quota. The sum of the tenant's stripes is the total.

    Concurrent writers add to different stripes, in the same transactions as their changes.
    """

    id = models.BigAutoField(primary_key=True)
    stripe = models.SmallIntegerField()  # 0: corrections by the recount; other numbers: writers
    memories = models.BigIntegerField(default=0)
    bytes = models.BigIntegerField(default=0)
    counted_at = models.DateTimeField(null=True)  # only set on stripe 0

    class Meta(TenantOwned.Meta):
        db_table = "sfm_usage_stripes"
        constraints = [models.UniqueConstraint(fields=["tenant", "stripe"], name="sfm_usage_stripe")]

    def __str__(self) -> str:
        return f"{self.memories} memories in stripe {self.stripe}"


class DailyUsage(TenantOwned):
    """A tenant's usage on one day (UTC). Every process adds its number of requests every few seconds."""

    id = models.BigAutoField(primary_key=True)
    day = models.DateField()
    requests = models.BigIntegerField(default=0)
    llm_tokens = models.BigIntegerField(default=0)  # always 0, because the ledger (sfm_llm_calls) counts them
    memories = models.BigIntegerField(null=True)  # at the last measurement of the day; None: not measured

    class Meta(TenantOwned.Meta):
        db_table = "sfm_usage_daily"
        constraints = [models.UniqueConstraint(fields=["tenant", "day"], name="sfm_usage_day")]

    def __str__(self) -> str:
        return f"{self.requests} requests on {self.day}"
