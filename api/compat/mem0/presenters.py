"""Present memories, versions and events in mem0's format."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import NAMESPACE_OID, uuid5

from api.compat.mem0 import names
from api.json import JsonObject
from memories.models import Memory, MemoryColumns
from memories.owners import APP, Owner
from memories.payloads import text_of
from memories.search.query import SearchHit
from memories.versions import Version
from somamemory.times import rfc3339
from tenants.models import Tenant

_EVENTS = {"create": "ADD", "update": "UPDATE", "restore": "UPDATE", "delete": "DELETE"}
_KINDS = {"user_id": "user", "agent_id": "agent", APP: "app", "session_id": "run"}


def text(memory: MemoryColumns) -> str:
    value = memory.payload.get("text")
    return value if isinstance(value, str) else text_of(memory.payload)


def owners(memory: MemoryColumns) -> JsonObject:
    app = memory.source.get(APP) if isinstance(memory.source, dict) else None
    return {"user_id": memory.user_id, "agent_id": memory.agent_id, "app_id": app, "run_id": memory.session_id}


def memory(memory: Memory) -> JsonObject:
    return {
        "id": names.id_of(memory),
        "memory": text(memory),
        **owners(memory),
        "session_id": memory.session_id,
        "metadata": memory.metadata or None,
        "categories": memory.payload.get("categories") or [],
        "created_at": rfc3339(memory.created_at),
        "updated_at": rfc3339(memory.updated_at),
        "expiration_date": _day(memory.expires_at),
    }


def _day(expires_at: datetime | None) -> str | None:
    """Return the last day on which a memory can be used."""
    return None if expires_at is None else (expires_at - timedelta(microseconds=1)).date().isoformat()


def hit(hit: SearchHit, fields: Sequence[str] | None) -> JsonObject:
    shown: JsonObject = {**memory(hit.memory), "score": hit.relevance}
    return shown if fields is None else {name: value for name, value in shown.items() if name in {"id", *fields}}


def page(count: int, results: Sequence[JsonObject], url: str, number: int, size: int) -> JsonObject:
    """Return a page with links to the previous and the next page. `url`: the list's URL."""
    at = f"{url}{'&' if '?' in url else '?'}page_size={size}&page="
    return {
        "count": count,
        "next": f"{at}{number + 1}" if number * size < count else None,
        "previous": f"{at}{number - 1}" if number > 1 else None,
        "results": results,
    }


def history(memory_id: str, versions: Sequence[Version]) -> list[JsonObject]:
    """Return the versions, oldest first. `versions`: newest first."""
    before: str | None = None
    entries: list[JsonObject] = []
    for version in reversed(versions):
        row, event = version.row, _EVENTS[version.action]
        now = None if event == "DELETE" else text(row)
        entries.append(
            {
                "id": str(uuid5(NAMESPACE_OID, f"{memory_id}/{row.version}")),
                "memory_id": memory_id,
                "input": [],
                "old_memory": before,
                "new_memory": now,
                "event": event,
                **owners(row),
                "session_id": row.session_id,
                "metadata": row.metadata or None,
                "categories": row.payload.get("categories") or [],
                "created_at": rfc3339(row.created_at),
                "updated_at": rfc3339(row.updated_at),
            }
        )
        before = now
    return entries


def added(memories: Iterable[Memory]) -> list[JsonObject]:
    return [addition(memory) for memory in memories]


def addition(memory: Memory) -> JsonObject:
    return {"id": names.id_of(memory), "data": {"memory": text(memory)}, "event": "ADD"}


def event(id: str, status: str, memories: Sequence[Memory], at: datetime, message: str | None = None) -> JsonObject:
    return {
        "id": id,
        "event_type": "ADD",
        "status": status,
        "message": message,
        "payload": {},
        "metadata": None,
        "results": added(memories),
        "created_at": rfc3339(at),
        "updated_at": rfc3339(at),
        "error": None,
    }


def entity_id(tenant: Tenant, owner: Owner) -> str:
    return str(uuid5(tenant.id, f"{_KINDS[owner.field]}/{owner.name}"))


def entity(tenant: Tenant, owner: Owner) -> dict[str, Any]:
    return {
        "id": entity_id(tenant, owner),
        "name": owner.name,
        "type": _KINDS[owner.field],
        "owner": tenant.slug,
        "metadata": None,
        "total_memories": owner.memories,
        "created_at": rfc3339(owner.first),
        "updated_at": rfc3339(owner.last),
    }
