"""The tools of the `chatgpt` profile: the two tools that ChatGPT's connectors and deep research require."""

from __future__ import annotations

from typing import Any

import orjson
from django.http import HttpRequest
from django_mcpz.server import MCPServer, public
from msgspec import Struct

import somamemory
from api.mcp import results
from api.mcp.memory_tools import at_id
from api.mcp.message import message_of
from api.mcp.routes import send
from api.request import absolute_url

MAX_RESULTS, MAX_TITLE, MAX_TEXT_TOKENS, MAX_METADATA_BYTES = 10, 80, 10_000, 8_192

server = MCPServer(name="somamemory", title="SomaMemory", version=somamemory.__version__, auth=public)


class Search(Struct):
    query: str


class Fetch(Struct):
    id: str


@server.tool(description="Search memories by meaning and keywords, best first.", read_only=True)
def search(request: HttpRequest, params: Search) -> dict[str, Any]:
    body = {"query": params.query, "top_k": MAX_RESULTS, "namespace": message_of(request).namespace}
    response = send(request, "POST", "/memories/search", body)
    degraded = {"degraded": response["degraded"]} if response["degraded"] else {}
    return {"results": [_source(request, memory) for memory in response["memories"]], **degraded}


@server.tool(description="Fetch the whole text of a search result by its id.", read_only=True)
def fetch(request: HttpRequest, params: Fetch) -> dict[str, Any]:
    memory = send(request, "GET", at_id(params.id))["memory"]
    text, is_cut = results.shortened(results.text_of(memory["payload"]), MAX_TEXT_TOKENS)
    metadata = {name: str(value) for name, value in memory["metadata"].items()}
    if len(orjson.dumps(metadata)) > MAX_METADATA_BYTES:
        metadata, is_cut = {}, True
    if is_cut:
        metadata["truncated"] = "true"
    return {**_source(request, memory), "text": text, "metadata": metadata}


def _source(request: HttpRequest, memory: dict[str, Any]) -> dict[str, str]:
    title = memory["payload"].get("title") or memory["key"] or results.text_of(memory["payload"])
    url = absolute_url(request, f"/api/v1/memories/by-id/{memory['id']}")
    return {"id": memory["id"], "title": " ".join(str(title).split())[:MAX_TITLE], "url": url}
