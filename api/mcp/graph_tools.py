"""The tools of the `knowledge-graph` profile: the nine tools of the reference memory server (`server-memory`).

An entity is a memory with the key `entity/<name>`, and a relation is a link whose type is the relation type. Unlike the
reference server, these tools lose no concurrent writes and limit the size of their responses.
"""

from __future__ import annotations

from typing import Annotated, Any

from django.http import HttpRequest
from django_mcpz.server import MCPServer, public
from msgspec import Meta, Struct, to_builtins

import somamemory
from api.mcp import graph_store, results

MAX_TOKENS = 20_000
MAX_ITEMS = 100

server = MCPServer(name="somamemory", title="SomaMemory", version=somamemory.__version__, auth=public)


class Entity(Struct):
    name: str
    entityType: str
    observations: list[str]


class Relation(Struct, rename={"from_": "from"}):
    from_: str
    to: str
    relationType: str


class NewObservations(Struct):
    entityName: str
    contents: list[str]


class OldObservations(Struct):
    entityName: str
    observations: list[str]


Few = Meta(min_length=1, max_length=MAX_ITEMS)


class Entities(Struct):
    entities: Annotated[list[Entity], Few]


class Relations(Struct):
    relations: Annotated[list[Relation], Few]


class Additions(Struct):
    observations: Annotated[list[NewObservations], Few]


class Deletions(Struct):
    deletions: Annotated[list[OldObservations], Few]


class EntityNames(Struct):
    entityNames: Annotated[list[str], Few]


class Query(Struct):
    query: str


class Names(Struct):
    names: Annotated[list[str], Meta(min_length=1, max_length=graph_store.MAX_OPENED)]


@server.tool(description="Create entities; existing names are skipped.", read_only=False, destructive=False)
def create_entities(request: HttpRequest, params: Entities) -> dict[str, Any]:
    entities = [to_builtins(entity) for entity in params.entities]
    return {"entities": graph_store.create_entities(request, entities)}


@server.tool(description="Create relations between entities, in active voice.", read_only=False, destructive=False)
def create_relations(request: HttpRequest, params: Relations) -> dict[str, Any]:
    relations = [to_builtins(relation) for relation in params.relations]
    return {"relations": graph_store.create_relations(request, relations)}


@server.tool(description="Add observations to entities.", read_only=False, destructive=False)
def add_observations(request: HttpRequest, params: Additions) -> dict[str, Any]:
    if len(params.observations) > 1:  # like server-memory, add nothing if an entity does not exist
        graph_store.require(request, [item.entityName for item in params.observations])
    added = [
        {"entityName": item.entityName, "addedObservations": graph_store.add(request, item.entityName, item.contents)}
        for item in params.observations
    ]
    return {"results": added}


@server.tool(description="Delete entities and their relations.", read_only=False, destructive=True, idempotent=True)
def delete_entities(request: HttpRequest, params: EntityNames) -> dict[str, Any]:
    deleted = [name for name in params.entityNames if graph_store.delete_entity(request, name)]
    return {"deleted": deleted, "notFound": [name for name in params.entityNames if name not in deleted]}


@server.tool(description="Delete observations from entities.", read_only=False, destructive=True, idempotent=True)
def delete_observations(request: HttpRequest, params: Deletions) -> dict[str, Any]:
    removed = [graph_store.remove(request, item.entityName, item.observations) for item in params.deletions]
    return {"deletedCount": sum(removed)}


@server.tool(description="Delete relations.", read_only=False, destructive=True, idempotent=True)
def delete_relations(request: HttpRequest, params: Relations) -> dict[str, Any]:
    relations = [to_builtins(relation) for relation in params.relations]
    return {"deletedCount": graph_store.delete_relations(request, relations)}


@server.tool(description="Read all entities and relations, up to a size limit.", read_only=True)
def read_graph(request: HttpRequest) -> dict[str, Any]:
    return _bounded(*graph_store.read(request))


@server.tool(description="Search entities by meaning and keywords.", read_only=True)
def search_nodes(request: HttpRequest, params: Query) -> dict[str, Any]:
    found, degraded = graph_store.search(request, params.query)
    return _bounded(*found) | ({"degraded": degraded} if degraded else {})


@server.tool(description="Open entities by name, with their relations.", read_only=True)
def open_nodes(request: HttpRequest, params: Names) -> dict[str, Any]:
    return _bounded(*graph_store.opened(request, params.names))


def _bounded(entities: list[dict[str, Any]], relations: list[dict[str, Any]], is_all: bool) -> dict[str, Any]:
    """Return as much of the graph as fits in MAX_TOKENS; `truncated` is set if part of it is missing."""
    shown, has_entities = results.within(entities, MAX_TOKENS * 3 // 4)
    linked, has_relations = results.within(relations, MAX_TOKENS // 4)
    graph: dict[str, Any] = {"entities": shown, "relations": linked}
    if not (is_all and has_entities and has_relations):
        graph["truncated"] = "There is more. Use search_nodes and open_nodes."
    return graph
