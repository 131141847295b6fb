"""The audit chain: digests of rows, hashes of blocks, and signatures.

A block covers rows of one tenant in id order and contains the previous block's hash. Changing a row would require
changing the hashes of all later blocks, which cannot be signed without the key. All functions are pure, except that
signing reads the key.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

from django.conf import settings

from somamemory.times import fixed_width

if TYPE_CHECKING:
    from tenants.models import AuditBlock, AuditCheckpoint, AuditEvent

NOTHING_BEFORE = bytes(32)
BEFORE_ALL = -(2**63) - 1  # lower than every id
_BLOCK = b"somamemory audit block 1"
_CHECKPOINT = b"somamemory audit checkpoint 1"
_PROGRESS = b"somamemory audit progress 1"
_ERASURE = b"somamemory audit erasure 1"
_MARK = struct.Struct(">Q8s")


@dataclass(frozen=True)
class Head:
    """The last block of a chain. It is signed, so it can be stored anywhere. `hash` and `signature` are hexadecimal."""

    tenant: str
    number: int
    last_id: int
    hash: str
    signature: str


@dataclass(frozen=True)
class Position:
    """A block's position in its chain, and its hash."""

    tenant_id: UUID
    number: int
    last_id: int
    hash: bytes

    @classmethod
    def of(cls, block: AuditBlock | AuditCheckpoint) -> Position:
        return cls(block.tenant_id, block.number, block.last_id, bytes(block.hash))


def head(block: AuditBlock) -> Head:
    return Head(
        str(block.tenant_id), block.number, block.last_id, bytes(block.hash).hex(), bytes(block.signature).hex()
    )


def dump_heads(heads: Iterable[Head]) -> str:
    """Return heads as JSON lines."""
    return "".join(json.dumps(asdict(head)) + "\n" for head in heads)


def digest(event: AuditEvent) -> bytes:
    """Return the SHA-256 of all columns of a row, including its id."""
    columns = [
        event.id,
        event.tenant_id and event.tenant_id.hex,
        fixed_width(event.at),
        event.actor,
        event.action,
        event.namespace,
        event.target,
        event.request_id,
        event.address,
        *(None if hash is None else bytes(hash).hex() for hash in (event.before_hash, event.after_hash)),
    ]
    return hashlib.sha256(json.dumps(columns, separators=(",", ":")).encode()).digest()


def hash_of(block: AuditBlock, digests: Sequence[bytes]) -> bytes:
    """Return the hash of a block that contains rows with these digests. It also covers the previous block's hash."""
    numbers = struct.pack(">QQQQ", block.number, block.first_id, block.last_id, len(digests))
    at = fixed_width(block.sealed_at).encode()
    hash = hashlib.sha256(_BLOCK + bytes(block.previous) + block.tenant_id.bytes + numbers + at)
    for row_digest in digests:
        hash.update(row_digest)
    return hash.digest()


def sign(block: Position) -> bytes:
    """Return the HMAC-SHA256 of a block's position and hash, using the installation's key."""
    return hmac.digest(_key(), _packed(block), "sha256")


def sign_checkpoint(checkpoint: Position, previous: bytes, at: datetime) -> bytes:
    """Sign a checkpoint together with the previous checkpoint's signature."""
    return hmac.digest(_key(), _CHECKPOINT + _packed(checkpoint) + bytes(previous) + fixed_width(at).encode(), "sha256")


def sign_progress(genesis: bytes, sealed_to: int, accepted_to: int, chains: int) -> bytes:
    """Sign the sealer's progress. `genesis` identifies the installation."""
    numbers = struct.pack(">QQQ", sealed_to, accepted_to, chains)
    return hmac.digest(_key(), _PROGRESS + bytes(genesis) + numbers, "sha256")


def sign_erasure(tenant_id: UUID, had_chain: bool) -> bytes:
    """Sign an erased tenant's record."""
    return hmac.digest(_key(), _ERASURE + tenant_id.bytes + bytes([had_chain]), "sha256")


def is_signed(signature: bytes | memoryview, expected: bytes) -> bool:
    return hmac.compare_digest(bytes(signature), expected)


def marks(pairs: Iterable[tuple[int, bytes]]) -> bytes:
    """Return 16 bytes per row: its id and the start of its digest. They show which rows in a block were changed."""
    return b"".join(_MARK.pack(id, row_digest[:8]) for id, row_digest in pairs)


def unpack_marks(raw: bytes | memoryview) -> Iterator[tuple[int, bytes]]:
    whole = len(raw) - len(raw) % _MARK.size
    return _MARK.iter_unpack(bytes(raw)[:whole])


def _packed(position: Position) -> bytes:
    return position.tenant_id.bytes + struct.pack(">QQ", position.number, position.last_id) + position.hash


def _key() -> bytes:
    return hashlib.sha256(b"somamemory audit" + settings.AUDIT_KEY.encode()).digest()
