"""Send MCP messages of both protocol versions to the endpoint, without a client library."""

from __future__ import annotations

from typing import Any

from tests.conftest import Api

VERSION = "2026-07-28"


def send(api: Api, method: str, params: dict[str, Any] | None = None, url: str = "/mcp", **headers: str) -> Any:
    """Send a message of version 2025-11-25, and return the HTTP response."""
    return api.post(url, {"jsonrpc": "2.0", "id": 1, "method": method, "params": params or {}}, **headers)


def send_stateless(
    api: Api, method: str, params: dict[str, Any] | None = None, url: str = "/mcp", **headers: str
) -> Any:
    """Send a message of version 2026-07-28, and return the HTTP response."""
    meta = {"io.modelcontextprotocol/protocolVersion": VERSION, "io.modelcontextprotocol/clientCapabilities": {}}
    sent = {"MCP-Protocol-Version": VERSION, "Mcp-Method": method}
    if params and "name" in params:
        sent["Mcp-Name"] = params["name"]
    body = {"jsonrpc": "2.0", "id": "a", "method": method, "params": {**(params or {}), "_meta": meta}}
    return api.post(url, body, **sent, **headers)


def call(api: Api, tool: str, url: str = "/mcp", **arguments: Any) -> Any:
    """Return the structured content of a tool's result, or its text if it has none, and expect success."""
    result = result_of(api, tool, url, **arguments)
    assert not result["isError"], result
    return result.get("structuredContent", result["content"][0]["text"] if result["content"] else None)


def error_of(api: Api, tool: str, url: str = "/mcp", **arguments: Any) -> str:
    """Return the text of a tool's error."""
    result = result_of(api, tool, url, **arguments)
    assert result["isError"], result
    text: str = result["content"][0]["text"]
    return text


def result_of(api: Api, tool: str, url: str = "/mcp", **arguments: Any) -> dict[str, Any]:
    response = send(api, "tools/call", {"name": tool, "arguments": arguments}, url)
    assert response.status_code == 200, response.content
    result: dict[str, Any] = response.json()["result"]
    return result


def tools(api: Api, url: str = "/mcp") -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = send(api, "tools/list", url=url).json()["result"]["tools"]
    return listed
