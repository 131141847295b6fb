"""Idempotent requests: a repeated request has no second effect and gets the first response.

The response is written in the same transaction as the effect, so one never exists without the other. It may contain the
secret of a new key, or a payload that has been purged since. It is therefore encrypted with a key derived from the
caller's API key, so that it cannot be read from the table or from a copy of it.
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
    """One attempt at a request with an Idempotency-Key. It is used inside one transaction."""

    tenant: Tenant
    key_id: UUID  # id of the API key
    key: str
    token: bytes  # the caller's API key; never stored or shown
    content: bytes  # everything that distinguishes this request from others

    def __repr__(self) -> str:
        return f"Attempt({self.key!r})"

    def first_answer(self) -> bytes | None:
        """Return the response to an earlier attempt; None if there is none and none can be added before we commit.

        Raises StillRunning and KeyReused.
        """
        alone = self._lock()
        row = self._rows().first()
        if row is not None and row.created_at <= timezone.now() - LIFETIME:
            self._rows().delete()
            row = None
        if row is not None:
            if not hmac.compare_digest(bytes(row.fingerprint), self._fingerprint()):
                raise KeyReused("this Idempotency-Key was used for a different request; use a new key")
            return self._open(bytes(row.answer))
        if not alone:
            raise StillRunning
        return None

    def record(self, answer: bytes) -> None:
        if not connection.in_atomic_block:
            raise RuntimeError("a response must be recorded in the transaction of its effect")
        IdempotencyKey.objects.for_tenant(self.tenant).create(
            tenant=self.tenant,
            key_id=self.key_id,
            key=self.key,
            fingerprint=self._fingerprint(),
            answer=self._seal(answer),
        )

    def _lock(self) -> bool:
        """Return whether no other transaction uses this key.

        On SQLite this is always the case, as it has only one writer.
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

    def _name(self) -> bytes:
        return f"{self.tenant.id}/{self.key_id}/{self.key}".encode()

    def _secret(self, purpose: bytes) -> bytes:
        """Derive 256 bits for one purpose and one Idempotency-Key.

        The stored digest of the API key is not enough to do so.
        """
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
    """Remove up to `limit` responses older than 48 hours. Return the number removed."""
    old = IdempotencyKey.all_tenants.filter(created_at__lte=timezone.now() - LIFETIME).order_by("created_at")
    swept = 0
    while swept < limit:
        batch = list(old.values_list("id", flat=True)[:BATCH])
        IdempotencyKey.all_tenants.filter(id__in=batch).delete()
        swept += len(batch)
        if len(batch) < BATCH:
            break
    return swept
