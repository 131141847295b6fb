"""Sample response values for the OpenAPI document, derived from the response schemas."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from api.contract.examples import SAMPLES

Schema = Mapping[str, Any]

_TIME = "2026-11-28T09:30:00Z"
_BY_FORMAT = {"date-time": _TIME, "date": "2026-11-28", "uuid": SAMPLES["memory"]}
_BY_TYPE: dict[str, Any] = {"string": "text", "integer": 1, "number": 0.5, "boolean": True, "null": None, "object": {}}
# By field name, where the type is not specific enough.
_BY_NAME: dict[str, Any] = {
    "id": SAMPLES["memory"],
    "memory_id": SAMPLES["memory"],
    "message_id": SAMPLES["message"],
    "conversation_id": SAMPLES["conversation"],
    "job_id": SAMPLES["job"],
    "prefix": SAMPLES["prefix"],
    "coord": "20261128.0,34200000000.0,731358.0",
    "coordinate": [20261128.0, 34200000000.0, 731358.0],
    "from_coord": "1.0,2.0,3.0",
    "to_coord": "1.0,2.0,4.0",
    "key": "ada/seat",
    "namespace": "default",
    "payload": {"text": "Ada prefers a window seat."},
    "metadata": {"checked": True},
    "context": "",
    "content": "No eggs for Ada.",
    "query": "breakfast",
    "mode": "hybrid",
    "scores": {"semantic": 0.41, "keyword": 0.13, "recency": 0.99, "importance": 0.0},
    "label": "Breakfast",
    "folder": "/home",
    "link_type": "next_to",
    "index_state": "ready",
    "deleted_at": None,
    "expires_at": None,
    "archived_at": None,
    "valid_from": None,
    "valid_to": None,
    "next_cursor": None,
    "next_offset": None,
    "next_index": None,
    "error": None,
    "degraded": [],
    "slug": "acme",
    "name": "Acme Ltd",
    "user_id": "ada",
    "agent_id": None,
    "session_id": None,
}
_MAX_DEPTH = 8


def sample(
    schema: Schema, components: Mapping[str, Schema], name: str = "", depth: int = 0, *, required_only: bool = False
) -> Any:
    """Return a value that the schema allows. Objects contain all fields or only the required ones."""
    if depth > _MAX_DEPTH:
        return None
    if "$ref" in schema:
        target = components[schema["$ref"].rsplit("/", 1)[1]]
        return sample(target, components, name, depth + 1, required_only=required_only)
    if "const" in schema or "enum" in schema:
        return schema["const"] if "const" in schema else schema["enum"][0]
    if name in _BY_NAME and _allows(schema, _BY_NAME[name], components):
        return _BY_NAME[name]
    for several in ("anyOf", "oneOf", "allOf"):
        if several in schema:
            return _of_several(schema[several], components, name, depth)
    if "properties" in schema:
        required = schema.get("required", ()) if required_only else schema["properties"]
        fields = {field: value for field, value in schema["properties"].items() if field in required}
        return {field: sample(value, components, field, depth + 1) for field, value in fields.items()}
    return _simple(schema, components, name, depth)


def _of_several(parts: list[Schema], components: Mapping[str, Schema], name: str, depth: int) -> Any:
    wanted = next((part for part in parts if part.get("type") != "null"), parts[0])
    return sample(wanted, components, name, depth + 1)


def _simple(schema: Schema, components: Mapping[str, Schema], name: str, depth: int) -> Any:
    kind = schema.get("type", "object")
    if kind == "array":
        return [sample(schema.get("items", {}), components, name, depth + 1)]
    if kind == "string":
        time = _TIME if name.endswith("_at") else _BY_TYPE[kind]
        return schema.get("example", _BY_FORMAT.get(schema.get("format", ""), time))
    if kind in ("integer", "number"):
        return max(schema.get("minimum", 0), min(schema.get("maximum", _BY_TYPE[kind]), _BY_TYPE[kind]))
    return _BY_TYPE.get(kind)


_PYTHON: dict[str, Any] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "object": dict,
    "array": list,
}


def _allows(schema: Schema, value: Any, components: Mapping[str, Schema]) -> bool:
    """Return whether a value has the type, or one of the types, that a schema allows."""
    if "$ref" in schema:
        return _allows(components[schema["$ref"].rsplit("/", 1)[1]], value, components)
    parts = schema.get("anyOf") or schema.get("oneOf")
    if parts:
        return any(_allows(part, value, components) for part in parts)
    kind = schema.get("type")
    if value is None or kind == "null":
        return value is None and kind == "null"
    return kind in _PYTHON and isinstance(value, _PYTHON[kind])
