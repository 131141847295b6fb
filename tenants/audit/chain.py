"""The arithmetic of the chain: digests of rows, hashes of blocks, signatures. Pure, but for the key.

A block holds the rows of one tenant in the order of their numbers, and the hash of the block before it. Whoever changes
a row must change the hashes of all later blocks, and cannot sign them without the key.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

from django.conf import settings

from somamemory.times import fixed_width

if TYPE_CHECKING:
    from tenants.models import AuditBlock, AuditCheckpoint, AuditEvent

NOTHING_BEFORE = bytes(32)
_BLOCK = b"somamemory audit block 1"
_CHECKPOINT = b"somamemory audit checkpoint 1"
_MARK = struct.Struct(">Q8s")


@dataclass(frozen=True)
class Head:
    """How far a chain had come; signed, so that it can be kept anywhere. hash and signature in hexadecimal."""

    tenant: str
    number: int
    last_id: int
    hash: str
    signature: str


@dataclass(frozen=True)
class Place:
    """Where a block stands, and its hash."""

    tenant_id: UUID
    number: int
    last_id: int
    hash: bytes

    @classmethod
    def of(cls, block: AuditBlock | AuditCheckpoint) -> Place:
        return cls(block.tenant_id, block.number, block.last_id, bytes(block.hash))


def head(block: AuditBlock) -> Head:
    return Head(
        str(block.tenant_id), block.number, block.last_id, bytes(block.hash).hex(), bytes(block.signature).hex()
    )


def digest(event: AuditEvent) -> bytes:
    """SHA-256 of everything a row says, its number included."""
    said = [
        event.id,
        event.tenant_id and event.tenant_id.hex,
        fixed_width(event.at),
        event.actor,
        event.action,
        event.namespace,
        event.target,
        event.request_id,
        event.address,
        *(None if each is None else bytes(each).hex() for each in (event.before_hash, event.after_hash)),
    ]
    return hashlib.sha256(json.dumps(said, separators=(",", ":")).encode()).digest()


def block_hash(
    previous: bytes, tenant: UUID, number: int, first_id: int, last_id: int, digests: Sequence[bytes], at: datetime
) -> bytes:
    numbers = struct.pack(">QQQQ", number, first_id, last_id, len(digests))
    told = hashlib.sha256(_BLOCK + bytes(previous) + tenant.bytes + numbers + fixed_width(at).encode())
    for each in digests:
        told.update(each)
    return told.digest()


def sign(block: Place) -> bytes:
    """HMAC-SHA256 of a block's place and hash, with the key of the installation."""
    return hmac.digest(_key(), _place(block), "sha256")


def sign_checkpoint(checkpoint: Place, previous: bytes, at: datetime) -> bytes:
    """The same of a checkpoint, and of the checkpoint's signature before it."""
    return hmac.digest(_key(), _CHECKPOINT + _place(checkpoint) + bytes(previous) + fixed_width(at).encode(), "sha256")


def is_signed(signature: bytes | memoryview, expected: bytes) -> bool:
    return hmac.compare_digest(bytes(signature), expected)


def marks(pairs: Iterable[tuple[int, bytes]]) -> bytes:
    """16 bytes a row, its number and the beginning of its digest: to say which row of a block is wrong."""
    return b"".join(_MARK.pack(id, each[:8]) for id, each in pairs)


def marked(raw: bytes | memoryview) -> Iterator[tuple[int, bytes]]:
    whole = len(raw) - len(raw) % _MARK.size
    return _MARK.iter_unpack(bytes(raw)[:whole])


def _place(link: Place) -> bytes:
    return link.tenant_id.bytes + struct.pack(">QQ", link.number, link.last_id) + link.hash


def _key() -> bytes:
    return hashlib.sha256(b"somamemory audit" + settings.AUDIT_KEY.encode()).digest()
