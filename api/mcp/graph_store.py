"""Entities, observations and relations, stored as memories and links."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from django.http import HttpRequest
from django_mcpz.server import ToolError

from api.mcp.message import message_of
from api.mcp.routes import RouteError, send
from api.schemas import MAX_COORDS

MAX_OPENED, MAX_FOUND, MAX_READ = 20, 10, 1000
MAX_RELATIONS = 1000
_PREFIX = "entity"
_TRIES = 10
_ESCAPED = re.compile(rb"[^A-Za-z0-9._-]")
_ESCAPE = re.compile(r":([0-9a-f]{2})")

Graph = tuple[list[dict[str, Any]], list[dict[str, Any]], bool]  # entities, relations, and whether they are complete


def create_entities(request: HttpRequest, entities: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Create entities, and return the new ones. Entities whose names already exist are skipped."""
    return [entity for entity in entities if _create(request, entity)]


def create_relations(request: HttpRequest, relations: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Create relations, and return the new ones. Raises ToolError if an entity does not exist."""
    require(request, [relation[end] for relation in relations for end in ("from", "to")])
    return [
        relation for relation in relations if send(request, "POST", "/graph/link", _link(request, relation))["created"]
    ]


def add(request: HttpRequest, name: str, contents: list[str]) -> list[str]:
    """Add observations to an entity, and return the new ones."""
    added: list[str] = []

    def change(observations: list[Any]) -> list[Any]:
        known = {value for value in observations if isinstance(value, str)}  # other clients may store other values
        added[:] = [text for text in dict.fromkeys(contents) if text not in known]
        return observations + added

    _change(request, name, change)
    return added


def remove(request: HttpRequest, name: str, contents: list[str]) -> int:
    """Remove observations from an entity, and return how many were removed."""
    removed: list[str] = []
    old = set(contents)

    def is_old(value: object) -> bool:
        return isinstance(value, str) and value in old

    def change(observations: list[Any]) -> list[Any]:
        removed[:] = [text for text in observations if is_old(text)]
        return [text for text in observations if not is_old(text)]

    _change(request, name, change)
    return len(removed)


def delete_entity(request: HttpRequest, name: str) -> bool:
    """Delete an entity and its relations. Return whether it existed."""
    memory = _get(request, [name])[name]
    if memory is None:
        return False
    for link in _links_at(request, [memory["coord"]]):
        _unlink(request, link["from_coord"], link["to_coord"], link["link_type"])
    deleted: bool = send(request, "DELETE", _path(name), query=_namespace(request))["deleted"]
    return deleted


def delete_relations(request: HttpRequest, relations: list[dict[str, Any]]) -> int:
    """Delete relations, and return how many were deleted."""
    memories = _get(request, [relation[end] for relation in relations for end in ("from", "to")])
    deleted = 0
    for relation in relations:
        start, end = memories[relation["from"]], memories[relation["to"]]
        if start is not None and end is not None:
            deleted += _unlink(request, start["coord"], end["coord"], _link_type(relation["relationType"]))
    return deleted


def read(request: HttpRequest) -> Graph:
    """Return up to MAX_READ entities in the namespace, their relations, and whether the result is complete."""
    query = {**_namespace(request), "key_prefix": _PREFIX, "limit": MAX_READ}
    page = send(request, "GET", "/memories", query=query)
    entities, relations, has_all_relations = _with_relations(request, page["items"])
    return entities, relations, has_all_relations and page["next_cursor"] is None


def search(request: HttpRequest, query: str) -> tuple[Graph, list[str]]:
    """Search for entities. Return them, the relations that begin or end at them, and the degraded search legs."""
    body = {"query": query, "top_k": MAX_FOUND, "key_prefix": _PREFIX, **_namespace(request)}
    response = send(request, "POST", "/memories/search", body)
    return _with_relations(request, response["memories"]), response["degraded"]


def opened(request: HttpRequest, names: list[str]) -> Graph:
    return _with_relations(request, [memory for memory in _get(request, names).values() if memory is not None])


def _create(request: HttpRequest, entity: dict[str, Any]) -> bool:
    body = {"key": f"{_PREFIX}/{entity['name']}", "payload": entity, **_namespace(request)}
    try:
        send(request, "POST", "/memories", body, if_absent=True)
    except RouteError as error:
        if error.code == "precondition_failed":
            return False
        raise
    return True


def _change(request: HttpRequest, name: str, change: Callable[[list[Any]], list[Any]]) -> None:
    """Change an entity's observations. Concurrent changes by other clients are not lost."""
    for _ in range(_TRIES):
        memory = require(request, [name])[name]
        before = memory["payload"].get("observations", [])
        if not isinstance(before, list):
            raise ToolError(f"The observations of entity {name!r} are not a list, so they cannot be changed here.")
        if (after := change(before)) == before:
            return
        try:
            body = {"payload": {"observations": after}}
            send(request, "PATCH", _path(name), body, _namespace(request), if_match=memory["version"])
        except RouteError as error:
            if error.code != "precondition_failed":
                raise
        else:
            return
    raise ToolError(f"Other clients keep changing entity {name!r}. Try again.")


def require(request: HttpRequest, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return the entities' memories by name. Raises ToolError if an entity does not exist."""
    found: dict[str, dict[str, Any]] = {}
    for name, memory in _get(request, names).items():
        if memory is None:
            raise ToolError(f"Entity with name {name!r} not found. Create it with create_entities.")
        found[name] = memory
    return found


def _get(request: HttpRequest, names: Iterable[str]) -> dict[str, dict[str, Any] | None]:
    distinct = list(dict.fromkeys(names))
    body = {"keys": [f"{_PREFIX}/{name}" for name in distinct], **_namespace(request)}
    items = send(request, "POST", "/memories/bulk/get", body)["items"]
    if len(items) < len(distinct):
        raise ToolError("The entities are too large to be read at once. Request fewer of them.")
    return {name: item["memory"] for name, item in zip(distinct, items, strict=True)}


def _with_relations(request: HttpRequest, memories: list[dict[str, Any]]) -> Graph:
    """Return the entities, and the relations that begin or end at one of them."""
    names = {memory["coord"]: _name(memory) for memory in memories}
    links, has_all_links = _links(request, list(names))
    ends = {link[end] for link in links for end in ("from_coord", "to_coord")}
    names |= _names(request, sorted(ends - names.keys())[:MAX_READ])
    relations = [
        _relation(names[link["from_coord"]], names[link["to_coord"]], link["link_type"])
        for link in links
        if names.keys() >= {link["from_coord"], link["to_coord"]}
    ]
    return [_entity(memory) for memory in memories], relations, has_all_links and len(ends) <= MAX_READ


def _names(request: HttpRequest, coords: list[str]) -> dict[str, str]:
    """Return the names of the entities at these coordinates."""
    if not coords:
        return {}
    items = send(request, "POST", "/memories/bulk/get", {"coords": coords, **_namespace(request)})["items"]
    return {item["coord"]: _name(item["memory"]) for item in items if item["memory"] and _is_entity(item["memory"])}


def _links(request: HttpRequest, coords: Sequence[str]) -> tuple[list[dict[str, Any]], bool]:
    """Return all links at these coordinates, or at least MAX_RELATIONS of them, and whether the result is complete."""
    found: dict[tuple[str, str, str], dict[str, Any]] = {}  # a link between coordinates in two batches is read twice
    for start in range(0, len(coords), MAX_COORDS):
        if len(found) >= MAX_RELATIONS:
            return list(found.values()), False
        links = _links_at(request, coords[start : start + MAX_COORDS])
        found |= {(link["from_coord"], link["to_coord"], link["link_type"]): link for link in links}
    return list(found.values()), True


def _links_at(request: HttpRequest, coords: Sequence[str]) -> list[dict[str, Any]]:
    """Return all links that begin or end at one of these coordinates.

    A list of neighbours is not enough, because it contains only one link to each neighbour.
    """
    query = {"coords": ";".join(coords), **_namespace(request)}
    links: list[dict[str, Any]] = send(request, "GET", "/graph/export", query=query)["links"]
    return links


def _unlink(request: HttpRequest, start: str, end: str, link_type: str) -> bool:
    query = {"from_coord": start, "to_coord": end, "link_type": link_type, **_namespace(request)}
    deleted: bool = send(request, "DELETE", "/graph/link", query=query)["deleted"]
    return deleted


def _link(request: HttpRequest, relation: dict[str, Any]) -> dict[str, Any]:
    return {
        "from_key": f"{_PREFIX}/{relation['from']}",
        "to_key": f"{_PREFIX}/{relation['to']}",
        "link_type": _link_type(relation["relationType"]),
        **_namespace(request),
    }


def _link_type(relation_type: str) -> str:
    """Return the escaped relation type (a space becomes `:20`), because link types allow only a few characters."""
    return _ESCAPED.sub(lambda match: b":%02x" % match[0][0], relation_type.encode()).decode()


def _relation(start: str, end: str, link_type: str) -> dict[str, Any]:
    raw = _ESCAPE.sub(lambda match: chr(int(match[1], 16)), link_type)
    try:
        relation_type = raw.encode("latin-1").decode()
    except ValueError:  # another client created the link
        relation_type = link_type
    return {"from": start, "to": end, "relationType": relation_type}


def _entity(memory: dict[str, Any]) -> dict[str, Any]:
    payload = memory["payload"]
    return {
        "name": _name(memory),
        "entityType": payload.get("entityType", ""),
        "observations": payload.get("observations", []),
    }


def _name(memory: dict[str, Any]) -> str:
    return str(memory["key"]).removeprefix(f"{_PREFIX}/")


def _is_entity(memory: dict[str, Any]) -> bool:
    return (memory["key"] or "").startswith(f"{_PREFIX}/")


def _namespace(request: HttpRequest) -> dict[str, Any]:
    return {"namespace": message_of(request).namespace}


def _path(name: str) -> str:
    return f"/memories/by-key/{_PREFIX}/{name}"
