"""How things look on the way out."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from memories import coordinates
from memories.coordinates import Coordinate


def instant(value: datetime | None) -> str | None:
    """RFC 3339 in UTC, with a Z."""
    return None if value is None else value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def memory(found: Any) -> dict[str, Any]:
    numbers = list(found.coordinate.numbers)
    shown = {
        "id": str(found.id),
        "coord": ",".join(map(repr, numbers)),
        "coordinate": numbers,
        "namespace": found.namespace,
        "payload": found.payload,
        "memory_type": found.memory_type,
        "metadata": found.metadata,
        "importance": found.importance,
        "context": found.context,
        "version": found.version,
        "index_state": found.index_state,
        "created_at": instant(found.created_at),
        "updated_at": instant(found.updated_at),
        "expires_at": instant(found.expires_at),
        "access_count": found.access_count,  # as of the last write-back
        "last_accessed_at": instant(found.last_accessed_at),
    }
    if found.deleted_at is not None:
        shown["deleted_at"] = instant(found.deleted_at)
    if (distance := getattr(found, "distance", None)) is not None:
        shown["distance"] = distance
    return shown


def stored(result: Any) -> dict[str, Any]:
    found = result.memory
    numbers = list(found.coordinate.numbers)
    return {
        "ok": True,
        "id": str(found.id),
        "coord": ",".join(map(repr, numbers)),
        "coordinate": numbers,
        "namespace": found.namespace,
        "memory_type": found.memory_type,
        "version": found.version,
        "created": result.created,
        "index_state": "pending",
    }


def hit(found: Any) -> dict[str, Any]:
    row = found.memory
    numbers = list(row.coordinate.numbers)
    shown = {
        "id": str(row.id),
        "coord": ",".join(map(repr, numbers)),
        "coordinate": numbers,
        "namespace": row.namespace,
        "payload": row.payload,
        "memory_type": row.memory_type,
        "metadata": row.metadata,
        "importance": row.importance,
        "created_at": instant(row.created_at),
        "version": row.version,
        "score": found.score,
    }
    if found.scores is not None:
        shown["scores"] = found.scores
    return shown


def linked(result: Any) -> dict[str, Any]:
    link = result.link
    return {
        "ok": True,
        "from_coord": link.start.text,
        "to_coord": link.end.text,
        "link_type": link.link_type,
        "strength": link.strength,
        "namespace": link.namespace,
        "valid_from": instant(link.valid_from),
        "valid_to": instant(link.valid_to),
        "created": result.created,
    }


def bulk_linked(at: int, result: Any) -> dict[str, Any]:
    link = result.link
    return {
        "index": at,
        "status": 201 if result.created else 200,
        "from_coord": link.start.text,
        "to_coord": link.end.text,
        "link_type": link.link_type,
    }


def neighbourhood(start: Coordinate, found: Any) -> dict[str, Any]:
    shown = [neighbour(each) for each in found.neighbours]
    if found.memories is not None:
        for each, row in zip(shown, found.memories, strict=True):
            each["memory"] = row and memory(row)
    return {"coord": start.text, "neighbors": shown, "truncated": found.truncated}


def neighbour(found: Any) -> dict[str, Any]:
    last = found.path[-1]
    numbers = list(coordinates.decode(found.key))
    return {
        "coord": ",".join(map(repr, numbers)),
        "coordinate": numbers,
        "link_type": last.link_type,
        "strength": last.strength,
        "hops": len(found.path),
        "direction": "in" if last.backwards else "out",
        "path": [text(found.path[0].before), *(text(step.after) for step in found.path)],
    }


def path(start: Coordinate, goal: Coordinate, found: Any) -> dict[str, Any]:
    steps = found.steps
    there = steps is not None
    return {
        "from_coord": start.text,
        "to_coord": goal.text,
        "found": there,
        "path": [start.text, *(text(step.after) for step in steps)] if there else [],
        "link_types": [step.link_type for step in steps or ()],
        "length": len(steps) if there else None,
        "cost": round(found.cost, 9) if there else None,
        "truncated": found.truncated,
    }


def text(key: str) -> str:
    return coordinates.from_key(key).text


def tenant(row: Any) -> dict[str, Any]:
    return {"slug": row.slug, "name": row.name, "active": row.active, "created_at": instant(row.created_at)}


def key(row: Any) -> dict[str, Any]:
    return {
        "prefix": row.prefix,
        "name": row.name,
        "scopes": row.scopes,
        "namespaces": row.namespaces,
        "created_at": instant(row.created_at),
        "expires_at": instant(row.expires_at),
        "revoked_at": instant(row.revoked_at),
    }


def job(row: Any) -> dict[str, Any]:
    return {
        "id": str(row.id),
        "kind": row.kind,
        "state": row.state,
        "done": row.done,
        "total": row.total,
        "error": row.error or None,
        "started_at": instant(row.started_at),
        "finished_at": instant(row.finished_at),
        "phase": row.data.get("phase"),
        "comparison": row.data.get("comparison"),
    }
