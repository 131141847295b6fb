"""Requests that may come twice: one effect, and the first answer for each of them.

The answer is written in the transaction of the effect, so that neither is ever there without the other. It is sealed
with a key that only the caller's own API key gives: it may hold the secret of a newly made key, or a payload that has
been purged since, and nobody who reads the table, or a copy of it, may have those.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import zlib
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.db import DEFAULT_DB_ALIAS, connection
from django.db.models import QuerySet
from django.utils import timezone

from somamemory.errors import KeyReused, StillRunning
from tenants.models import IdempotencyKey, Tenant

LIFETIME = timedelta(hours=48)
BATCH = 1000
_NONCE_BYTES = 12


@dataclass(frozen=True)
class Attempt:
    """One sending of a request: whose, under which Idempotency-Key, and what. Lives inside one transaction."""

    tenant: Tenant
    key_id: UUID  # of the API key
    key: str
    token: bytes  # the caller's API key; never stored, and not shown
    content: bytes  # all that makes another request of it

    def __repr__(self) -> str:
        return f"Attempt({self.key!r})"

    def first_answer(self) -> bytes | None:
        """What an earlier sending was answered; None when there was none, and there will be none until we commit.

        Raises StillRunning and KeyReused.
        """
        alone = self._lock()
        row = self._rows().first()
        if row is not None and row.created_at <= timezone.now() - LIFETIME:
            self._rows().delete()
            row = None
        if row is not None:
            if not hmac.compare_digest(bytes(row.fingerprint), self._fingerprint()):
                raise KeyReused("this Idempotency-Key has been used for another request")
            return self._open(bytes(row.answer))
        if not alone:
            raise StillRunning
        return None

    def record(self, answer: bytes) -> None:
        if not connection.in_atomic_block:
            raise RuntimeError("an answer belongs into the transaction of its effect")
        IdempotencyKey.objects.for_tenant(self.tenant).create(
            tenant=self.tenant,
            key_id=self.key_id,
            key=self.key,
            fingerprint=self._fingerprint(),
            answer=self._seal(answer),
        )

    def _lock(self) -> bool:
        """Whether no other transaction works on this key. SQLite has one writer at a time, which this one is."""
        if connection.vendor != "postgresql":
            return True
        number = int.from_bytes(hashlib.sha256(self._name()).digest()[:8], "big", signed=True)
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [number])
            return bool(cursor.fetchone()[0])

    def _rows(self) -> QuerySet[IdempotencyKey]:
        rows: QuerySet[IdempotencyKey] = IdempotencyKey.objects.for_tenant(self.tenant)
        return rows.using(DEFAULT_DB_ALIAS).filter(key_id=self.key_id, key=self.key)

    def _name(self) -> bytes:
        return f"{self.tenant.id}/{self.key_id}/{self.key}".encode()

    def _secret(self, purpose: bytes) -> bytes:
        """256 bits for one purpose and one Idempotency-Key. The stored digest of the API key does not give them."""
        return hmac.digest(self.token, purpose + b"/" + self._name(), "sha256")

    def _fingerprint(self) -> bytes:
        return hmac.digest(self._secret(b"fingerprint"), self.content, "sha256")

    def _seal(self, answer: bytes) -> bytes:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + AESGCM(self._secret(b"answer")).encrypt(nonce, zlib.compress(answer, 1), None)

    def _open(self, sealed: bytes) -> bytes:
        nonce, answer = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        return zlib.decompress(AESGCM(self._secret(b"answer")).decrypt(nonce, answer, None))


def sweep(limit: int = 100_000) -> int:
    """Remove up to `limit` answers older than 48 hours; how many there were."""
    old = IdempotencyKey.all_tenants.filter(created_at__lte=timezone.now() - LIFETIME).order_by("created_at")
    swept = 0
    while swept < limit:
        batch = list(old.values_list("id", flat=True)[:BATCH])
        IdempotencyKey.all_tenants.filter(id__in=batch).delete()
        swept += len(batch)
        if len(batch) < BATCH:
            break
    return swept
