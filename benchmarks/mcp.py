"""Measure MCP: `python -m benchmarks.mcp tokens`, `cpu` or `writers`.

tokens: the size of each profile's tool list, in tokens. Fails if the default profile has more than 8 tools or
takes 1,500 tokens or more.
cpu: the server's CPU time for a search through MCP and for the same search through REST, measured alternately, with
2,000 memories. Fails if the median ratio exceeds 1.15.
writers: two assistants, each in its own process, write 100 memories each to one server, then to one data folder. Fails
unless each run stores exactly 200 memories. For comparison, two processes of @modelcontextprotocol/server-memory, which
is installed from npm into var/server-memory, do the same with one file.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from typing import Any

from benchmarks.embedded import BULK, progress, texts
from benchmarks.requests import Wire
from conversations.context import tokens as tokenizer
from testing.server import ROOT, Server

PROFILES = ("default", "knowledge-graph", "chatgpt", "sekha")
MAX_TOOLS, MAX_TOKENS = 8, 1_500
MAX_RATIO = 1.15
MEMORIES, SEARCHES, TURNS = 2_000, 200, 10
WRITES = 100
REFERENCE = "@modelcontextprotocol/server-memory@2026.8.31"
MCP_COMMAND = [sys.executable, str(ROOT / "manage.py"), "mcp"]
HELLO = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "benchmark", "version": "1"}}


def message(method: str, params: dict[str, Any] | None = None, id: int = 1) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": id, "method": method, "params": params or {}}


# --- tokens ------------------------------------------------------------------------------------------------------


def tokens(server: Server) -> None:
    client = server.client()
    for profile in PROFILES:
        listed = client.post(f"/mcp?profile={profile}", message("tools/list"))["result"]["tools"]
        size = tokenizer.count([json.dumps(listed, separators=(",", ":"))])[0]
        print(f"{profile:16}{len(listed):>3} tools{size:>7,} tokens")
        if profile == "default" and (len(listed) > MAX_TOOLS or size >= MAX_TOKENS):
            sys.exit(f"the default profile must have at most {MAX_TOOLS} tools and fewer than {MAX_TOKENS:,} tokens")


# --- cpu ---------------------------------------------------------------------------------------------------------


def cpu(server: Server) -> None:
    client, source = server.client(timeout_s=300), texts(seed=1)
    for first in range(0, MEMORIES, BULK):
        items = [{"coord": [0, n], "payload": {"text": next(source)}} for n in range(first, first + BULK)]
        client.post("/memories/bulk", {"items": items})
    client.wait_until_indexed()
    words = [" ".join(next(source).split()[:6]) for _ in range(SEARCHES)]
    wire = Wire(server)
    for limit in (10, 5):
        rest = [request(server, "/api/v1/memories/search", {"query": query, "top_k": limit}) for query in words]
        calls = [{"name": "memory_search", "arguments": {"query": query, "limit": limit}} for query in words]
        mcp = [request(server, "/mcp", message("tools/call", call)) for call in calls]
        for requests in (rest, mcp):  # warm up
            wire.send_all(requests)
        pairs = []
        for turn in range(TURNS):
            pairs.append((used_ms(server, wire, rest), used_ms(server, wire, mcp)))
            progress(f"{limit} results", (turn + 1) / TURNS)
        ratio = statistics.median(mcp_ms / rest_ms for rest_ms, mcp_ms in pairs)
        means = [statistics.mean(times) for times in zip(*pairs, strict=True)]
        print(f"{limit} results: REST {means[0]:.2f} ms, MCP {means[1]:.2f} ms of CPU per search; ratio {ratio:.3f}")
        if ratio > MAX_RATIO:
            sys.exit(f"the ratio must be at most {MAX_RATIO}")
    wire.socket.close()


def request(server: Server, path: str, body: Any) -> bytes:
    content = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {server.key}\r\n"
    return f"{head}Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n".encode() + content


def used_ms(server: Server, wire: Wire, requests: list[bytes]) -> float:
    before = server.cpu_s()
    wire.send_all(requests)
    return (server.cpu_s() - before) * 1000 / len(requests)


# --- writers -----------------------------------------------------------------------------------------------------


def writers(server: Server) -> None:
    client = server.client()
    connected = {**server.environment, "SOMA_URL": f"http://127.0.0.1:{server.port}", "SOMA_API_KEY": server.key}
    write_twice(MCP_COMMAND, connected, store)
    stored = [memory["payload"]["text"] for memory in client.get("/memories?limit=1000")["items"]]
    report("SomaMemory, one server", stored)
    client.connection.close()
    server.stop()
    write_twice(MCP_COMMAND, server.environment, lambda n, name: store(n, f"folder {name}"))
    server.start()
    stored = [memory["payload"]["text"] for memory in server.client().get("/memories?limit=1000")["items"]]
    report("SomaMemory, one data folder", [text for text in stored if text.startswith("folder ")])
    reference()


def reference() -> None:
    """Let two server-memory processes write to one file."""
    folder = ROOT / "var" / "server-memory"
    name, _, version = REFERENCE.rpartition("@")
    package = folder / "node_modules" / name
    manifest = package / "package.json"
    if not manifest.exists() or json.loads(manifest.read_text())["version"] != version:
        npm = ["npm", "install", "--prefix", str(folder), "--no-audit", "--no-fund", "--silent", REFERENCE]
        subprocess.run(npm, check=True)
    node = shutil.which("node")
    assert node is not None, "needs node"
    for attempt in range(3):
        with tempfile.TemporaryDirectory() as place:
            file = pathlib.Path(place) / "memory.jsonl"
            environment = {**os.environ, "MEMORY_FILE_PATH": str(file)}
            command = [node, str(package / "dist" / "index.js")]
            write_twice(command, environment, create)
            lines = [json.loads(line) for line in file.read_text().splitlines()]
            report(f"{name} {version}, run {attempt + 1}", [line["name"] for line in lines], must_store_all=False)


class Assistant:
    """An MCP client that starts its own server process, and waits for the response to each message."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self.ask(message("initialize", HELLO))

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(request).encode() + b"\n")
        self.process.stdin.flush()
        while True:
            answer: dict[str, Any] = json.loads(self.process.stdout.readline())
            if answer.get("id") == request["id"]:
                return answer

    def close(self) -> None:
        self.process.communicate(timeout=120)


def write_twice(command: list[str], environment: dict[str, str], call: Callable[[int, str], dict[str, Any]]) -> None:
    """Let two assistants write at the same time. Raises RuntimeError if an error was reported."""
    assistants = {name: Assistant(command, environment) for name in ("a", "b")}
    errors: list[Any] = []

    def write(name: str) -> None:
        for number in range(WRITES):
            answer = assistants[name].ask(message("tools/call", call(number, name), id=number + 2))
            if answer.get("result", {"isError": True}).get("isError"):
                errors.append(answer)

    threads = [threading.Thread(target=write, args=[name]) for name in assistants]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for assistant in assistants.values():
        assistant.close()
    if errors:
        raise RuntimeError(f"{len(errors)} writes reported an error, the first one {errors[0]}")


def store(number: int, name: str) -> dict[str, Any]:
    return {"name": "memory_store", "arguments": {"content": f"{name} {number}"}}


def create(number: int, name: str) -> dict[str, Any]:
    entity = {"name": f"{name} {number}", "entityType": "note", "observations": ["a note"]}
    return {"name": "create_entities", "arguments": {"entities": [entity]}}


def report(what: str, stored: list[str], must_store_all: bool = True) -> None:
    expected = 2 * WRITES
    print(f"{what}: {len(set(stored))} of {expected} stored, {len(stored) - len(set(stored))} twice")
    if must_store_all and (len(stored) != expected or len(set(stored)) != expected):
        sys.exit("memories were lost or stored twice")


KINDS: dict[str, Callable[[Server], None]] = {"tokens": tokens, "cpu": cpu, "writers": writers}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=KINDS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soma-mcp-") as folder, Server(pathlib.Path(folder)) as server:
        KINDS[options.kind](server)


if __name__ == "__main__":
    main()
