"""A memory to be stored, and the checks it must pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import orjson
from django.conf import settings
from django.utils import timezone

from memories import payloads, reserved_namespaces, validity
from memories.addresses import Address, Key
from memories.coordinates import Coordinate
from memories.embeddings.base import Vectors
from memories.index import generations, immediate
from memories.index.base import as_float32, usable
from memories.index.immediate import StoredVector
from memories.models import Memory
from memories.payloads import Json
from memories.search import analyzer, dates
from somamemory import deadline
from somamemory.errors import DimensionMismatch, InvalidInput, PayloadTooLarge
from tenants.caller import Caller

Source = str | Json | None


@dataclass(frozen=True)
class NewMemory:
    """A memory as sent by a caller.

    coordinate: None until `coordinate_assignment` sets it to the key's coordinate or, without a key, to a new one.
    embedding: a vector supplied by the caller, to be used instead of one computed from the text.
    supersedes: the addresses of the memories that this one supersedes, in the same namespace; see `supersession`.
    allocated: whether the coordinate was allocated for this memory, in which case nothing is stored there yet.
    """

    coordinate: Coordinate | None
    payload: Json
    namespace: str = "default"
    memory_type: str = Memory.Type.EPISODIC
    metadata: Json = field(default_factory=dict)
    importance: float = 0.0
    context: str = ""
    expires_at: datetime | None = None
    embedding: Vectors | None = None
    created_at: datetime | None = None  # the time of the event; None means now
    user_id: str | None = None
    agent_id: str | None = None
    session_id: str | None = None
    valid_from: datetime | None = None
    valid_to: datetime | None = None
    source: Source = None
    trust: float | None = None
    key: Key | None = None
    supersedes: Sequence[Address] = ()
    allocated: bool = False

    @property
    def place(self) -> Coordinate:
        """Return the coordinate, which must already have been assigned."""
        if self.coordinate is None:
            raise ValueError("this memory has no coordinate yet; see coordinate_assignment.placed")
        return self.coordinate

    def names(self, memory: Memory) -> bool:
        """Return whether storing this memory would replace `memory`, which is in the same namespace."""
        return (self.coordinate is not None and self.coordinate == memory.coordinate) or (
            self.key is not None and self.key.text == memory.key
        )


def checked(caller: Caller, item: NewMemory) -> NewMemory:
    """Return the item if it can be stored, with defaults for its user and its validity.

    If the caller is limited to a user, the memory belongs to that user. Raises InvalidInput if the item is not valid,
    DimensionMismatch if its embedding has the wrong length, and Forbidden if it belongs to another user.
    """
    if caller.user_id is not None:
        caller.require_user(item.user_id or caller.user_id)
        item = replace(item, user_id=caller.user_id)
    reserved_namespaces.check_writable(caller, item.namespace)
    check_expiry(item.expires_at)
    valid_from = validity.start(item.valid_from, supersedes=bool(item.supersedes))
    if valid_from != item.valid_from:
        item = replace(item, valid_from=valid_from)
    validity.check(item.valid_from, item.valid_to)
    if item.embedding is None:
        return item
    dimension = generations.active().dimension
    if len(item.embedding) != dimension:
        raise DimensionMismatch("embedding", f"must have {dimension} numbers, not {len(item.embedding)}")
    if not usable(as_float32(item.embedding)):
        raise InvalidInput("embedding", "must contain finite 32-bit numbers that are not all zero")
    return item


@dataclass(frozen=True)
class Prepared:
    """A memory to be stored, with the terms and the vector that are computed before the transaction."""

    item: NewMemory
    terms: str
    vector: StoredVector | None


def prepared(items: Sequence[NewMemory]) -> list[Prepared]:
    texts = [payloads.text_of(item.payload) for item in items]
    to_embed = [analyzer.embedding_text(text, item.context) for text, item in zip(texts, items, strict=True)]
    vectors = immediate.embedded(to_embed, [item.embedding for item in items])
    new = []
    for item, text, vector in zip(items, texts, vectors, strict=True):
        deadline.check()
        new.append(Prepared(item, terms_of(item, text), vector))
    return new


def terms_of(memory: NewMemory | Memory, text: str) -> str:
    """Return the `terms` column of a memory with this text."""
    stored = memory.created_at or timezone.now()
    dated = dates.of_memory(stored, payloads.dates_of(memory.metadata, memory.payload))
    return analyzer.index_terms(text, memory.context, payloads.speakers_of(memory.payload), dated)


def check_size(memory: Memory) -> None:
    """Raise PayloadTooLarge if a memory is larger than the maximum request body, for example after several patches."""
    size = len(orjson.dumps([memory.payload, memory.metadata]))
    if size > settings.MAX_BODY_BYTES:
        raise PayloadTooLarge(f"the memory would be {size} bytes long; the maximum is {settings.MAX_BODY_BYTES}")


def check_expiry(expires_at: datetime | None) -> None:
    if expires_at is not None and expires_at <= timezone.now():
        raise InvalidInput("expires_at", "must be in the future")
