"""MCP with the official SDK's client: over HTTP, over standard input and output, and without a server."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

from testing import template
from testing.server import ROOT, Server, free_port

pytestmark = [pytest.mark.server, pytest.mark.once]
NODE = shutil.which("node")
needs_node = pytest.mark.skipif(NODE is None, reason="needs node")
BUNDLED = str(ROOT / "clients" / "claude-desktop" / "server" / "index.mjs")
COMMAND = [sys.executable, str(ROOT / "manage.py"), "mcp"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("server"), SOMA_EMBEDDING_PROVIDER="hashing") as server:
        yield server


async def use(client: Client) -> dict[str, Any]:
    """Store, find and delete a memory. Return the search result."""
    assert len((await client.list_tools()).tools) == 8
    stored = await client.call_tool("memory_store", {"content": "The launch is in May"})
    assert stored.structured_content is not None
    found = await client.call_tool("memory_search", {"query": "launch", "limit": 1})
    await client.call_tool("memory_delete", {"id": stored.structured_content["id"]})
    missing = await client.call_tool("memory_get", {"id": stored.structured_content["id"]})
    assert missing.is_error
    assert found.structured_content is not None
    memory: dict[str, Any] = found.structured_content["memories"][0]
    return memory


@pytest.mark.parametrize("mode", ["auto", "legacy", "2026-07-28"])
def test_the_sdk_uses_the_memory_over_http(server: Server, mode: str) -> None:
    async def run() -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {server.key}"}
        async with httpx2.AsyncClient(headers=headers) as http:
            transport = streamable_http_client(f"http://127.0.0.1:{server.port}/mcp", http_client=http)
            async with Client(transport, mode=mode) as client:
                return await use(client)

    assert asyncio.run(run())["content"] == "The launch is in May"


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_the_sdk_uses_a_server_through_standard_input_and_output(server: Server, mode: str) -> None:
    environment = {**server.environment, "SOMA_URL": f"http://127.0.0.1:{server.port}", "SOMA_API_KEY": server.key}
    parameters = StdioServerParameters(command=COMMAND[0], args=COMMAND[1:], env=environment)

    async def run() -> dict[str, Any]:
        async with Client(parameters, mode=mode) as client:
            return await use(client)

    assert asyncio.run(run())["content"] == "The launch is in May"


@needs_node
@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_the_sdk_uses_a_server_through_the_bundle_for_claude_desktop(server: Server, mode: str) -> None:
    environment = {"SOMA_URL": f"http://127.0.0.1:{server.port}/", "SOMA_API_KEY": server.key}
    environment |= dict.fromkeys(("SOMA_NAMESPACE", "SOMA_TENANT"), "${user_config.unset}")
    parameters = StdioServerParameters(command=str(NODE), args=[BUNDLED], env=environment)

    async def run() -> dict[str, Any]:
        async with Client(parameters, mode=mode) as client:
            return await use(client)

    assert asyncio.run(run())["content"] == "The launch is in May"


@needs_node
def test_the_bundle_uses_only_its_namespace(server: Server) -> None:
    memory = {"name": "memory_store", "arguments": {"content": "A plan", "key": "apollo/plan"}}
    call = {"name": "memory_get", "arguments": {"key": "apollo/plan"}}
    bundled(server, memory, SOMA_NAMESPACE="projects/apollo")

    (there,) = bundled(server, call, SOMA_NAMESPACE="projects/apollo")
    (elsewhere,) = bundled(server, call)

    assert (there["result"]["isError"], elsewhere["result"]["isError"]) == (False, True)


@needs_node
@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"SOMA_API_KEY": "wrong"}, "key"),
        ({"SOMA_API_KEY": "soma_\u2013"}, "the API key, the tenant or the message contains characters"),
        ({"SOMA_URL": "http://127.0.0.1:9"}, "no server is responding at http://127.0.0.1:9"),
    ],
)
def test_the_bundle_reports_why_a_message_was_not_served(
    server: Server, settings: dict[str, str], problem: str
) -> None:
    (answer,) = bundled(server, {"name": "memory_stats", "arguments": {}}, **settings)

    assert (answer["id"], answer["error"]["code"]) == (0, -32000)
    assert problem in answer["error"]["message"]


@needs_node
def test_the_bundle_answers_a_message_with_an_invalid_value_under_its_id(server: Server) -> None:
    (answer,) = bundled(server, {"name": "memory_store", "arguments": {"content": "\ud83d"}})  # half of an emoji

    assert answer["id"] == 0
    assert "lone surrogate" in answer["error"]["message"]


class Proxy(BaseHTTPRequestHandler):
    """A proxy whose server does not respond."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(502)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<html>\n<h1>502 Bad Gateway</h1>\n</html>\n")

    def log_message(self, *args: object) -> None:
        pass


@needs_node
def test_the_bundle_turns_the_page_of_a_proxy_into_an_error(server: Server) -> None:
    with HTTPServer(("127.0.0.1", 0), Proxy) as proxy:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{proxy.server_port}"
        (answer,) = bundled(server, {"name": "memory_stats", "arguments": {}}, SOMA_URL=url)
        proxy.shutdown()

    assert (answer["id"], answer["error"]["code"]) == (0, -32000)
    assert "status 502" in answer["error"]["message"]


def bundled(server: Server, call: dict[str, Any], **settings: str) -> list[dict[str, Any]]:
    """Return the responses from the bundle for Claude Desktop."""
    known = {"SOMA_URL": f"http://127.0.0.1:{server.port}", "SOMA_API_KEY": server.key}
    done = subprocess.run(
        [str(NODE), BUNDLED],
        input=lines([call]),
        env={**known, **settings},
        capture_output=True,
        timeout=120,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_two_assistants_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    """Two processes serve the same data folder, and a third one finds all of their memories."""
    server = Server(tmp_path, SOMA_EMBEDDING_PROVIDER="hashing")  # not started
    template.copy_sqlite(tmp_path / "somamemory.sqlite3")
    assert ask(server, []) == []  # create the data folder

    writers = [begin(server) for _ in range(2)]
    for name, writer in zip("ab", writers, strict=True):
        assert writer.stdin is not None
        writer.stdin.write(lines([store(f"{name} {number}") for number in range(100)]))
    answers = [answer for writer in writers for answer in end(writer)]

    assert [answer for answer in answers if answer["result"]["isError"]] == []
    assert len({answer["result"]["structuredContent"]["id"] for answer in answers}) == 200
    (stats,) = ask(server, [{"name": "memory_stats", "arguments": {}}])
    assert stats["result"]["structuredContent"]["total_memories"] == 200


def store(content: str) -> dict[str, Any]:
    return {"name": "memory_store", "arguments": {"content": content}}


def lines(calls: list[dict[str, Any]]) -> bytes:
    messages = [{"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": call} for id, call in enumerate(calls)]
    return b"".join(json.dumps(message).encode() + b"\n" for message in messages)


def begin(server: Server) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        COMMAND, env=server.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )


def end(process: subprocess.Popen[bytes]) -> list[dict[str, Any]]:
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    return [json.loads(line) for line in out.splitlines()]


def ask(server: Server, calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
    process = begin(server)
    assert process.stdin is not None
    process.stdin.write(lines(calls))
    return end(process)


def test_messages_are_served_while_the_embedding_provider_is_away(tmp_path: Path) -> None:
    away = {"SOMA_EMBEDDING_PROVIDER": "openai", "SOMA_EMBEDDING_MODEL": "any", "SOMA_EMBEDDING_DIMENSION": "8"}
    address = f"http://127.0.0.1:{free_port()}"
    environment = Server(tmp_path, **away, SOMA_EMBEDDING_BASE_URL=address).environment
    ping = b'{"jsonrpc": "2.0", "id": 7, "method": "ping"}\n'
    done = subprocess.run(COMMAND, env=environment, input=ping, capture_output=True, timeout=120, check=False)

    assert json.loads(done.stdout) == {"jsonrpc": "2.0", "id": 7, "result": {}}
