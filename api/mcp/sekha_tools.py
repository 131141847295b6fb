"""The tools of the `sekha` profile: the seven tools of Sekha's MCP server, which work on conversations."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from uuid import UUID

from django.http import HttpRequest
from django_mcpz.server import MCPServer, ToolError, public
from msgspec import UNSET, Meta, Struct, UnsetType, to_builtins

import somamemory
from api.mcp import results
from api.mcp.routes import send

MAX_TOKENS = 20_000
_PAGE = 200  # messages per request

server = MCPServer(name="somamemory", title="SomaMemory", version=somamemory.__version__, auth=public)

Score = Annotated[float, Meta(ge=1, le=10)]
Limit = Annotated[int, Meta(ge=1, le=100)]


class Message(Struct):
    role: str
    content: str


class Store(Struct):
    label: str
    messages: list[Message]
    folder: str = "/"
    importance_score: Score = 5


class Search(Struct):
    query: str
    filters: dict[str, Any] | None = None
    limit: Limit = 10
    offset: Annotated[int, Meta(ge=0, le=10_000)] = 0


class Conversation(Struct):
    conversation_id: str


class Update(Conversation):
    label: str | UnsetType = UNSET
    folder: str | UnsetType = UNSET
    status: Literal["active", "pinned", "archived"] | UnsetType = UNSET
    importance_score: Score | UnsetType = UNSET


class Prune(Struct):
    threshold_days: int = 30
    importance_threshold: Score = 5.0
    limit: Limit = 20


class Export(Conversation):
    format: Literal["json", "markdown"] = "json"


class Stats(Struct):
    folder: str | UnsetType = UNSET
    label: str | UnsetType = UNSET


@server.tool(name="memory_store", description="Store a conversation.", read_only=False, destructive=False)
def store(request: HttpRequest, params: Store) -> dict[str, Any]:
    stored = send(request, "POST", "/conversations", to_builtins(params))
    return _success({name: stored[name] for name in ("conversation_id", "id", "label", "folder")})


@server.tool(name="memory_search", description="Search the messages of conversations.", read_only=True)
def search(request: HttpRequest, params: Search) -> dict[str, Any]:
    response = send(request, "POST", "/query", to_builtins(params))
    found, is_complete = results.within(response["results"], MAX_TOKENS)
    data = {"query": params.query, "total_results": response["total"], "limit": params.limit, "results": found}
    if not is_complete or response["next_offset"] is not None:
        data["next_offset"] = params.offset + len(found)
    if response["degraded"]:
        data["degraded"] = response["degraded"]
    return _success(data)


@server.tool(
    name="memory_update",
    description="Change the label, folder, status or importance of a conversation.",
    read_only=False,
    destructive=True,
    idempotent=True,
)
def update(request: HttpRequest, params: Update) -> dict[str, Any]:
    changes = to_builtins(params)
    send(request, "PATCH", _path(changes.pop("conversation_id")), changes)
    return _success({"conversation_id": params.conversation_id, "updated_fields": list(changes)})


@server.tool(name="memory_prune", description="List conversations that could be archived.", read_only=True)
def prune(request: HttpRequest, params: Prune) -> dict[str, Any]:
    options = {name: getattr(params, name) for name in ("threshold_days", "importance_threshold")}
    suggestions = send(request, "GET", "/prune/suggestions", query=options)
    savings = sum(suggestion["token_estimate"] for suggestion in suggestions)
    shown, _ = results.within(suggestions[: params.limit], MAX_TOKENS)
    return _success(
        {
            **options,
            "total_suggestions": len(suggestions),
            "estimated_token_savings": savings,
            "suggestions": shown,
        }
    )


@server.tool(name="memory_get_context", description="Get what is known about a conversation.", read_only=True)
def get_context(request: HttpRequest, params: Conversation) -> dict[str, Any]:
    return _success(send(request, "GET", _path(params.conversation_id)))


@server.tool(name="memory_export", description="Get a conversation with its messages.", read_only=True)
def export(request: HttpRequest, params: Export) -> dict[str, Any]:
    path = _path(params.conversation_id)
    conversation = send(request, "GET", path)
    page = send(request, "GET", f"{path}/messages", query={"limit": _PAGE})
    shown = [{name: item[name] for name in ("role", "content", "timestamp")} for item in page["items"]]
    messages, is_complete = results.within(shown, MAX_TOKENS)
    data: dict[str, Any] = {"conversation": conversation, "format": params.format}
    if params.format == "json":
        data["messages"] = messages
    else:
        turns = [f"**{message.get('role', '')}**: {message['content']}" for message in messages]
        data["content"] = "\n\n".join([f"# {conversation['label']}", *turns])
    if not is_complete or page["next_cursor"]:
        data["messages_omitted"] = page["total"] - len(messages)
    return _success(data)


@server.tool(name="memory_stats", description="Count conversations: all, in a folder, or with a label.", read_only=True)
def stats(request: HttpRequest, params: Stats) -> dict[str, Any]:
    count = send(request, "GET", "/conversations/count", query=to_builtins(params))
    return _success({"total_conversations": count["count"], **to_builtins(params)})


def _path(id: str) -> str:
    try:
        return f"/conversations/{UUID(id)}"
    except ValueError:
        raise ToolError("conversation_id: must be a UUID, as returned by memory_search.") from None


def _success(data: Any) -> dict[str, Any]:
    return {"success": True, "data": data, "error": None}
