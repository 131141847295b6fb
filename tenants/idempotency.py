"""Idempotent requests: a retried request has no further effect, and returns the first response.

The response is written in the same transaction as the effect, so one never exists without the other. A long request,
such as an import, consists of many transactions and is safe to retry. It reserves its Idempotency-Key with a lease, and
records the response when it ends. If it is killed, a retried request continues once the lease has expired.

A response may contain the secret of a new key, or a payload that has since been purged. It is therefore encrypted with
a key derived from the caller's API key, so that the table, or a copy of it, does not reveal the response. The secret of
a connected app's key changes every few minutes, so the server's secret key is used instead.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.db import DEFAULT_DB_ALIAS, connection, transaction
from django.db.models import QuerySet
from django.db.models.functions import Length
from django.utils import timezone

from somamemory.errors import KeyReused, QuotaExceeded, StillRunning
from tenants import usage
from tenants.models import IdempotencyKey, Tenant

LIFETIME = timedelta(hours=48)
LEASE = timedelta(seconds=60)
_RENEWAL_S = 15.0
USAGE_SQL = (
    "SELECT 0 AS memories, COALESCE(SUM(LENGTH(answer)), 0) AS bytes FROM sfm_idempotency_keys WHERE tenant_id = %s"
)
BATCH = 1000
_NONCE_BYTES = 12


@dataclass
class Attempt:
    """One attempt at a request with an Idempotency-Key.

    Use `early_answer` before the transaction that contains the effect, and `first_answer` and `record` inside it; or
    use `reserve`, `renew` and `complete` around a long request.
    """

    tenant: Tenant
    key_id: UUID  # id of the API key
    key: str
    secret: bytes  # the caller's API key or, for a connected app, derived from SECRET_KEY; never stored or shown
    content: bytes  # everything that distinguishes this request from others
    lease: UUID = field(default_factory=uuid4)
    renewed_at: float = field(default_factory=time.monotonic)

    def __repr__(self) -> str:
        return f"Attempt({self.key!r})"

    def early_answer(self) -> bytes | None:
        """Return the response to an earlier attempt, or None if there is none. Raises KeyReused.

        On PostgreSQL, always return None, because a transaction there can begin with `first_answer`.
        """
        if connection.vendor == "postgresql":
            return None
        row = self._rows().filter(created_at__gt=timezone.now() - LIFETIME).first()
        return None if row is None else self._answer_of(row)

    def first_answer(self) -> bytes | None:
        """Return the response to an earlier attempt, or None if there is none.

        Locks the key until the transaction ends. Raises StillRunning and KeyReused.
        """
        alone = self._lock()
        row = self._rows().first()
        if row is not None and row.created_at <= timezone.now() - LIFETIME:
            if self._rows().delete()[0]:  # otherwise, `sweep` has just removed it
                usage.add(self.tenant, 0, -len(row.answer))
            row = None
        if row is not None:
            if answer := self._answer_of(row):
                return answer
            if row.is_leased(timezone.now()):
                raise StillRunning
        if not alone:
            raise StillRunning
        return None

    def reserve(self) -> bytes | None:
        """Return the response to an earlier attempt, or reserve the key for a long request.

        Raises StillRunning and KeyReused.
        """
        with transaction.atomic():
            recorded = self.first_answer()
            if recorded is None:
                self._rows().delete()  # from an attempt whose lease has expired
                self._create(b"", self.lease, timezone.now() + LEASE)
        return recorded

    def renew(self) -> None:
        """Extend a long request's lease, at most once every few seconds."""
        if time.monotonic() - self.renewed_at >= _RENEWAL_S:
            self._mine().update(lease_until=timezone.now() + LEASE)
            self.renewed_at = time.monotonic()

    def complete(self, answer: bytes) -> None:
        """Store the response to a long request, unless another attempt has taken over.

        If the tenant has used up its quota, the response is not stored and the request can be retried.
        """
        sealed = self._seal(answer)
        try:
            with transaction.atomic():
                usage.add(self.tenant, 0, len(sealed))
                if not self._mine().update(answer=sealed, lease=None, lease_until=None):
                    usage.add(self.tenant, 0, -len(sealed))
        except QuotaExceeded:
            self.release()

    def release(self) -> None:
        """Allow an immediate retry of a long request that has failed."""
        self._mine().delete()

    def record(self, answer: bytes) -> None:
        if not connection.in_atomic_block:
            raise RuntimeError("a response must be recorded in the same transaction as its effect")
        self._create(sealed := self._seal(answer))
        usage.add(self.tenant, 0, len(sealed))

    def _answer_of(self, row: IdempotencyKey) -> bytes | None:
        """Return the response in a row, or None while a long request is running. Raises KeyReused."""
        if not hmac.compare_digest(bytes(row.fingerprint), self._fingerprint()):
            raise KeyReused("this Idempotency-Key was used for a different request; use a new key")
        return self._open(bytes(row.answer)) if row.answer else None

    def _create(self, answer: bytes, lease: UUID | None = None, until: datetime | None = None) -> None:
        IdempotencyKey.objects.for_tenant(self.tenant).create(
            tenant=self.tenant,
            key_id=self.key_id,
            key=self.key,
            fingerprint=self._fingerprint(),
            answer=answer,
            lease=lease,
            lease_until=until,
        )

    def _lock(self) -> bool:
        """Lock the key until the transaction ends. Return False if another transaction has locked it.

        Always returns True on SQLite, which has only one writer at a time.
        """
        if connection.vendor != "postgresql":
            return True
        number = int.from_bytes(hashlib.sha256(self._name()).digest()[:8], "big", signed=True)
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [number])
            return bool(cursor.fetchone()[0])

    def _rows(self) -> QuerySet[IdempotencyKey]:
        rows: QuerySet[IdempotencyKey] = IdempotencyKey.objects.for_tenant(self.tenant)
        return rows.using(DEFAULT_DB_ALIAS).filter(key_id=self.key_id, key=self.key)

    def _mine(self) -> QuerySet[IdempotencyKey]:
        return self._rows().filter(lease=self.lease)

    def _name(self) -> bytes:
        return f"{self.tenant.id}/{self.key_id}/{self.key}".encode()

    def _secret(self, purpose: bytes) -> bytes:
        """Derive 256 bits for one purpose and one Idempotency-Key.

        The content of the database alone is not enough to derive them.
        """
        return hmac.digest(self.secret, purpose + b"/" + self._name(), "sha256")

    def _fingerprint(self) -> bytes:
        return hmac.digest(self._secret(b"fingerprint"), self.content, "sha256")

    def _seal(self, answer: bytes) -> bytes:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + AESGCM(self._secret(b"answer")).encrypt(nonce, zlib.compress(answer, 1), None)

    def _open(self, sealed: bytes) -> bytes:
        nonce, answer = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        return zlib.decompress(AESGCM(self._secret(b"answer")).decrypt(nonce, answer, None))


def sweep(limit: int = 100_000) -> int:
    """Remove up to `limit` responses older than 48 hours. Return the number removed."""
    old = IdempotencyKey.all_tenants.filter(created_at__lte=timezone.now() - LIFETIME).order_by("created_at")
    swept = 0
    while swept < limit:
        with transaction.atomic():
            # Locked, so that no other process removes the same responses and subtracts their bytes again.
            locked = old.select_for_update(skip_locked=True)
            batch = list(locked.values_list("id", "tenant_id", Length("answer"))[:BATCH])
            _forget(batch)
        swept += len(batch)
        if len(batch) < BATCH:
            break
    return swept


def _forget(batch: Sequence[tuple[int, UUID, int]]) -> None:
    """Remove locked responses, given as (id, tenant, bytes), and subtract their bytes from their tenants' usage."""
    sizes: Counter[UUID] = Counter()
    for _, tenant, size in batch:
        sizes[tenant] += size
    for tenant_id, row in Tenant.objects.in_bulk(list(sizes)).items():
        usage.add(row, 0, -sizes[tenant_id])
    IdempotencyKey.all_tenants.filter(id__among=[id for id, _, _ in batch]).delete()
