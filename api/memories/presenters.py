"""Present memories as JSON."""

from __future__ import annotations

from collections.abc import Iterable

from api.json import JsonObject
from memories.addresses import Address, Key
from memories.coordinates import Coordinate
from memories.models import Memory, MemoryColumns
from memories.services import Stored
from somamemory.times import rfc3339, rfc3339_or_none


def memory(memory: Memory) -> JsonObject:
    result: JsonObject = {
        "id": str(memory.id),
        **address(memory.coordinate),
        "key": memory.key,
        "namespace": memory.namespace,
        "payload": memory.payload,
        "memory_type": memory.memory_type,
        "metadata": memory.metadata,
        **memory.ids,
        "importance": memory.importance,
        **claims(memory),
        "context": memory.context,
        "version": memory.version,
        "index_state": memory.index_state,
        "created_at": rfc3339(memory.created_at),
        "updated_at": rfc3339(memory.updated_at),
        "expires_at": rfc3339_or_none(memory.expires_at),
        "access_count": memory.access_count,  # as of the last write-back
        "last_accessed_at": rfc3339_or_none(memory.last_accessed_at),
    }
    if memory.deleted_at is not None:
        result["deleted_at"] = rfc3339(memory.deleted_at)
    if memory.distance is not None:
        result["distance"] = memory.distance
    return result


def claims(memory: MemoryColumns) -> JsonObject:
    """Return the writer's statements about a memory: its validity, source and trust."""
    return {
        "valid_from": rfc3339_or_none(memory.valid_from),
        "valid_to": rfc3339_or_none(memory.valid_to),
        "source": memory.source,
        "trust": memory.trust,
    }


def stored(stored: Stored) -> JsonObject:
    memory = stored.memory
    return {
        "ok": True,
        "id": str(memory.id),
        **address(memory.coordinate),
        "key": memory.key,
        "namespace": memory.namespace,
        "memory_type": memory.memory_type,
        "version": memory.version,
        "created": stored.created,
        "index_state": memory.index_state,
    }


def bulk_stored(index: int, stored: Stored) -> JsonObject:
    return {
        "index": index,
        "status": 201 if stored.created else 200,
        "coord": stored.memory.coordinate.text,
        "id": str(stored.memory.id),
        "key": stored.memory.key,
        "version": stored.memory.version,
    }


def bulk_got(pairs: Iterable[tuple[Address, Memory | None]], next_index: int | None) -> JsonObject:
    items = [{**name(address), "memory": found and memory(found)} for address, found in pairs]
    return {"items": items, "next_index": next_index}


def name(address: Address) -> JsonObject:
    """Return an object with one field: the coordinate, key or id that a request used to identify a memory."""
    field = "coord" if isinstance(address, Coordinate) else "key" if isinstance(address, Key) else "id"
    return {field: str(address)}


def address(coordinate: Coordinate) -> JsonObject:
    numbers = list(coordinate.numbers)  # decoded only once, because `coordinate.text` would decode the key again
    return {"coord": ",".join(map(repr, numbers)), "coordinate": numbers}
