"""Translate mem0's filters into ours.

    {"AND": [{"user_id": "ada"}, {"run_id": "*"}, {"NOT": {"categories": {"in": ["spam"]}}}]}

An unknown field or operator is an error: if it were ignored, the results would include memories that do not match.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import Q

from api.compat.mem0.schemas import completed
from api.json import JsonObject
from memories import filters, lookup
from memories.filters import Filter
from somamemory.errors import InvalidInput

ENTITIES = {"user_id": "user_id", "agent_id": "agent_id", "app_id": "source.app_id", "run_id": "session_id"}
_TIMES = {"created_at": "created_at", "updated_at": "updated_at", "timestamp": "created_at"}
_COMBINERS = ("AND", "OR", "NOT")
_MAX_DEPTH = 8


@dataclass(frozen=True)
class Conditions:
    """A translated filter.

    ids: the condition on `memory_ids`, if any.
    names_entity: whether the filter names a user, an agent, an app or a run.
    """

    filter: Filter | None
    ids: Q | None
    names_entity: bool


def conditions(raw: JsonObject) -> Conditions:
    """Translate a request's `filters`. Raises InvalidInput with the position of the first invalid condition."""
    lists, rest = _without_ids(raw)
    translation = _Translation()
    plain = translation.group(rest, "filters", 1)
    parsed = filters.parse(plain) if plain else None
    ids = lookup.among(list(set.intersection(*map(_ids, lists)))) if lists else None
    return Conditions(parsed, ids, translation.names_entity)


def _without_ids(raw: JsonObject) -> tuple[list[Any], JsonObject]:
    """Separate the `memory_ids` conditions at the top level, or directly inside a top-level AND, from the others."""
    rest = {name: value for name, value in raw.items() if name != "memory_ids"}
    lists = [raw["memory_ids"]] if "memory_ids" in raw else []
    parts = rest.get("AND")
    if isinstance(parts, list):
        kept = [part for part in parts if not _is_list_of_ids(part)]
        lists += [part["memory_ids"] for part in parts if _is_list_of_ids(part)]
        rest = {**rest, "AND": kept} if kept else {name: value for name, value in rest.items() if name != "AND"}
    return lists, rest


def _is_list_of_ids(part: Any) -> bool:
    return isinstance(part, dict) and list(part) == ["memory_ids"]


def _ids(listed: Any) -> set[UUID]:
    values = listed["in"] if isinstance(listed, dict) and list(listed) == ["in"] else listed
    if not isinstance(values, list) or len(values) > filters.MAX_LIST:
        raise InvalidInput("filters.memory_ids", f"must be a list of at most {filters.MAX_LIST} ids")
    try:
        return {UUID(value) for value in values}
    except (ValueError, TypeError, AttributeError):
        raise InvalidInput("filters.memory_ids", "must contain only UUIDs") from None


class _Translation:
    def __init__(self) -> None:
        self.names_entity = False

    def group(self, raw: Any, at: str, depth: int) -> JsonObject:
        if not isinstance(raw, dict):
            raise InvalidInput(at, 'must be an object such as {"user_id": "ada"}')
        if depth > _MAX_DEPTH:
            raise InvalidInput(at, f"filters can be nested at most {_MAX_DEPTH} levels deep; flatten them")
        parts = [self.member(name, value, f"{at}.{name[:100]}", depth) for name, value in raw.items()]
        return parts[0] if len(parts) == 1 else {"AND": parts} if parts else {}

    def member(self, name: str, value: Any, at: str, depth: int) -> JsonObject:
        if name in _COMBINERS:
            parts = value if isinstance(value, list) else [value]
            return {name: [self.group(part, f"{at}[{index}]", depth + 1) for index, part in enumerate(parts)]}
        if name in ENTITIES:
            self.names_entity = True
            return self.entity(ENTITIES[name], value, at)
        if name not in _FIELDS:
            allowed = ", ".join((*_COMBINERS, *ENTITIES, *_FIELDS, "memory_ids"))
            raise InvalidInput(at, f"must be a logical operator or one of: {allowed}")
        return _FIELDS[name](name, value, at)

    def entity(self, column: str, value: Any, at: str) -> JsonObject:
        if value in ("*", {"eq": "*"}):
            return {column: {"exists": True}}
        operators = _operators(value, at, ("eq", "ne", "in"))
        return {column: operators}


def _operators(value: Any, at: str, allowed: tuple[str, ...]) -> JsonObject:
    operators = value if isinstance(value, dict) else {"eq": value}
    for operator in operators:
        if operator not in allowed:
            raise InvalidInput(f"{at}.{operator[:100]}", f"unknown operator; must be one of {', '.join(allowed)}")
    return operators


def _time(name: str, value: Any, at: str) -> JsonObject:
    operators = _operators(value, at, ("eq", "ne", "in", "gt", "gte", "lt", "lte"))
    return {_TIMES[name]: {operator: _moments(moment) for operator, moment in operators.items()}}


def _moments(value: Any) -> Any:
    if isinstance(value, list):
        return [_moments(moment) for moment in value]
    return completed(value) if isinstance(value, str) else value


def _categories(name: str, value: Any, at: str) -> JsonObject:
    operators = value if isinstance(value, dict) else {"in": value if isinstance(value, list) else [value]}
    wanted = [one if isinstance(one, list) else [one] for one in _operators(operators, at, ("in", "contains")).values()]
    return {"AND": [{"OR": [{"payload.categories": {"icontains": name}} for name in names]} for names in wanted]}


def _metadata(name: str, value: Any, at: str) -> JsonObject:
    if not isinstance(value, dict) or not value:
        raise InvalidInput(at, 'must be an object such as {"source": "email"}')
    for key in value:
        if "." in key:  # in our filters, it would be a path to a nested field
            raise InvalidInput(f"{at}.{key[:100]}", "must not contain a dot; a filter cannot refer to such a key")
    return {
        f"metadata.{key}": _operators(operand, f"{at}.{key[:100]}", ("eq", "ne", "contains"))
        for key, operand in value.items()
    }


def _keywords(name: str, value: Any, at: str) -> JsonObject:
    operators = value if isinstance(value, dict) else {"icontains": value}
    return {"payload.text": _operators(operators, at, ("eq", "contains", "icontains"))}


_FIELDS: Mapping[str, Callable[[str, Any, str], JsonObject]] = {
    **dict.fromkeys(_TIMES, _time),
    "categories": _categories,
    "metadata": _metadata,
    "keywords": _keywords,
    "text": _keywords,
}
