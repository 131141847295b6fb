"""The eight tools of the default profile. Together, their descriptions take fewer than 1,500 tokens."""

from __future__ import annotations

import heapq
from operator import itemgetter
from typing import Annotated, Any
from uuid import UUID

from django.http import HttpRequest
from django_mcpz.server import MCPServer, ToolError, public
from msgspec import UNSET, Meta, Struct, UnsetType, to_builtins

import somamemory
from api.mcp import results
from api.mcp.message import message_of
from api.mcp.routes import send

server = MCPServer(
    name="somamemory",
    title="SomaMemory",
    version=somamemory.__version__,
    instructions=(
        "Long-term memory. Search before you answer questions about the user, their projects or earlier decisions. "
        "Store lasting facts, preferences and decisions, one self-contained statement per memory; not secrets, and "
        "nothing that matters only now. Update a memory that has changed instead of storing a second one."
    ),
    auth=public,  # api.mcp.endpoint has identified the caller
)

MAX_LINKED = 50
MAX_NAMESPACES = 50
NOTE_TOKENS = 30  # tokens reserved for a note on an incomplete context
MaxTokens = Annotated[int, Meta(ge=100, le=20_000)]
Metadata = dict[str, Any]
Importance = Annotated[float, Meta(ge=0, le=10)]
Content = Annotated[str, Meta(min_length=1)]
Version = Annotated[int, Meta(ge=1, le=2**31 - 1)]


STORED = {
    "type": "object",
    "properties": {"id": {"type": "string"}, "version": {"type": "integer"}},
    "required": ["id", "version"],
}
FOUND = {
    "type": "object",
    "properties": {
        "memories": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "id": {"type": "string"},
                    "content": {"type": "string"},
                    "score": {"type": "number"},
                },
                "required": ["id", "score"],
            },
        },
        "next_offset": {"type": "integer"},
    },
    "required": ["memories"],
}


class Search(Struct):
    query: str
    limit: Annotated[int, Meta(ge=1, le=50)] = 10
    offset: Annotated[int, Meta(ge=0, le=10_000)] = 0
    filters: Annotated[
        Metadata | UnsetType, Meta(description='E.g. {"metadata.project": "x", "metadata.year": {"gte": 2026}}')
    ] = UNSET
    max_tokens: MaxTokens = 4000


class Store(Struct):
    content: Content
    key: Annotated[str | UnsetType, Meta(description="Unique name; replaces the memory that has it")] = UNSET
    metadata: Metadata | UnsetType = UNSET
    importance: Importance | UnsetType = UNSET


class Name(Struct):  # a docstring would become part of the schema
    id: str | UnsetType = UNSET
    key: str | UnsetType = UNSET


class Get(Name):
    links: Annotated[bool, Meta(description="Also return linked memories")] = False
    max_tokens: MaxTokens = 4000


class Update(Name):
    content: Content | UnsetType = UNSET
    metadata: Annotated[Metadata | UnsetType, Meta(description="Merged; null removes a field")] = UNSET
    importance: Importance | UnsetType = UNSET
    version: Annotated[Version | UnsetType, Meta(description="Fail if the memory has a different version")] = UNSET


class Context(Struct):
    query: str
    max_tokens: MaxTokens = 2000


class Link(Struct):
    from_id: str
    to_id: str
    link_type: str = "related"


@server.tool(
    name="memory_search",
    description="Search memories by meaning and keywords, best first.",
    output_schema=FOUND,
    read_only=True,
)
def search(request: HttpRequest, params: Search) -> dict[str, Any]:
    body = {
        "query": params.query,
        "top_k": params.limit,
        "offset": params.offset,
        "namespace": message_of(request).namespace,
    }
    if params.filters is not UNSET:
        body["filters"] = params.filters
    response = send(request, "POST", "/memories/search", body)
    found = [results.memory(memory) for memory in response["memories"]]
    memories, is_complete = results.within(found, params.max_tokens)
    result: dict[str, Any] = {"memories": memories}
    if not is_complete:
        result["next_offset"] = params.offset + len(memories)
    elif "next_offset" in response:
        result["next_offset"] = response["next_offset"]
    if response["degraded"]:
        result["degraded"] = response["degraded"]
    return result


@server.tool(
    name="memory_store",
    description="Remember one self-contained fact, preference or decision.",
    output_schema=STORED,
    read_only=False,
    destructive=False,
)
def store(request: HttpRequest, params: Store) -> dict[str, Any]:
    fields = to_builtins(params)
    body = {"payload": {"text": fields.pop("content")}, "namespace": message_of(request).namespace, **fields}
    stored = send(request, "POST", "/memories", body)
    return {name: stored[name] for name in ("id", "key", "version", "created") if stored[name] is not None}


@server.tool(name="memory_get", description="Get one memory by id or key.", read_only=True)
def get(request: HttpRequest, params: Get) -> dict[str, Any]:
    path, query = _at(request, params)
    memory = send(request, "GET", path, query=query)["memory"]
    items = [results.memory(memory)]
    if params.links:
        items += _linked(request, memory["id"])
    items, is_complete = results.within(items, params.max_tokens)
    result = items[0]
    if params.links:
        result["links"] = items[1:]
        if not is_complete:
            result["links_omitted"] = True
    return result


@server.tool(
    name="memory_update",
    description="Change the given fields of a memory. Earlier versions are kept.",
    output_schema=STORED,
    read_only=False,
    destructive=True,
    idempotent=True,
)
def update(request: HttpRequest, params: Update) -> dict[str, Any]:
    path, query = _at(request, params)
    changes = to_builtins(params)
    for name in ("id", "key", "version"):
        changes.pop(name, None)
    if "content" in changes:
        changes["payload"] = {"text": changes.pop("content"), "content": None}
    version = None if params.version is UNSET else params.version
    memory = send(request, "PATCH", path, changes, query, if_match=version)["memory"]
    return {"id": memory["id"], "version": memory["version"]}


@server.tool(
    name="memory_delete",
    description="Delete a memory by id or key. An administrator can restore it for a while.",
    read_only=False,
    destructive=True,
    idempotent=True,
)
def delete(request: HttpRequest, params: Name) -> dict[str, Any]:
    path, query = _at(request, params)
    return {"deleted": send(request, "DELETE", path, None, query)["deleted"]}


@server.tool(
    name="memory_context",
    description="Get the memories and conversation passages that are relevant to a query, as text.",
    read_only=True,
)
def context(request: HttpRequest, params: Context) -> str:
    body = {
        "query": params.query,
        "context_budget": params.max_tokens - NOTE_TOKENS,
        "format": "text",
        "namespaces": [message_of(request).namespace],
    }
    response = send(request, "POST", "/context/assemble", body)
    text: str = response["text"] or "No memory is relevant to this query."
    if response["degraded"]:
        text += f"\n\nIncomplete, because parts of the search are degraded: {', '.join(response['degraded'])}."
    return text


@server.tool(
    name="memory_link",
    description="Link two memories, e.g. with link_type 'supersedes' or 'part_of'.",
    read_only=False,
    destructive=False,
    idempotent=True,
)
def link(request: HttpRequest, params: Link) -> dict[str, Any]:
    body = {**to_builtins(params), "namespace": message_of(request).namespace}
    return {"created": send(request, "POST", "/graph/link", body)["created"]}


@server.tool(name="memory_stats", description="Count memories, namespaces and conversations.", read_only=True)
def stats(request: HttpRequest) -> dict[str, Any]:
    response = send(request, "GET", "/stats")
    largest = heapq.nlargest(MAX_NAMESPACES, response["namespaces"].items(), key=itemgetter(1))
    result = {
        "namespace": message_of(request).namespace,
        "namespaces": dict(largest),
        **{name: response[name] for name in ("total_memories", "links", "conversations")},
        "awaiting_indexing": response["index"]["pending"],
    }
    if omitted := len(response["namespaces"]) - len(largest):
        result["namespaces_omitted"] = omitted
    return result


def _at(request: HttpRequest, name: Name) -> tuple[str, dict[str, object]]:
    """Return the route path and the query for a memory. Raises ToolError unless exactly one name is given."""
    if (name.id is UNSET) == (name.key is UNSET):
        raise ToolError("Give either the id or the key of the memory.")
    if name.key is not UNSET:
        return f"/memories/by-key/{name.key}", {"namespace": message_of(request).namespace}
    return at_id(str(name.id)), {}


def at_id(id: str) -> str:
    """Return the route path for the memory with this id. Raises ToolError if the id is not a UUID."""
    try:
        return f"/memories/by-id/{UUID(id)}"
    except ValueError:
        raise ToolError("id: must be a UUID, as returned when you search for or store a memory.") from None


def _linked(request: HttpRequest, id: str) -> list[dict[str, Any]]:
    query = {"include_memory": "true", "direction": "both", "limit": MAX_LINKED}
    neighbors = send(request, "GET", f"/memories/by-id/{id}/links", query=query)["neighbors"]
    return [
        {"link_type": neighbor["link_type"], "direction": neighbor["direction"], **results.memory(neighbor["memory"])}
        for neighbor in neighbors
        if neighbor["memory"]
    ]
