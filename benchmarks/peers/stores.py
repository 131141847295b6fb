"""The stores to compare. This file and `worker.py` run in the peers' environment and import nothing from the service.

Each store contains the same memories. A memory has an id (a number), a text, a vector, and a group for filters.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import re
import socket
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

GROUPS = 20
TOP = 10
BATCH = 500
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@dataclass(frozen=True)
class Item:
    number: int
    text: str
    vector: list[float]

    @property
    def group(self) -> int:
        return self.number % GROUPS


class Store(Protocol):
    """One store. Every method can be called from several threads at the same time."""

    roots: set[int]  # the processes whose CPU time counts
    kinds: tuple[str, ...]

    def fill(self, items: Sequence[Item]) -> None: ...

    def fetch(self, number: int) -> object: ...

    def store(self, item: Item) -> object: ...

    def search(self, kind: str, item: Item) -> list[int]:
        """Return the numbers of the ten nearest memories. For the kind "filtered", search only the item's group."""


class Http:
    """A keep-alive connection for each thread, with little overhead on the client side."""

    def __init__(self, port: int, headers: str = "") -> None:
        self._port, self._headers, self._local = port, headers, threading.local()

    def call(self, method: str, path: str, body: Any = None) -> Any:
        content = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{self._headers}"
        request = f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content
        return json.loads(self._send(request) or b"null")

    def _send(self, request: bytes) -> bytes:
        connection: socket.socket | None = getattr(self._local, "socket", None)
        if connection is None:
            connection = self._local.socket = socket.create_connection(("127.0.0.1", self._port), timeout=120)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(request)
        received = b""
        while (end := received.find(b"\r\n\r\n")) < 0:
            received += _more(connection)
        length = _LENGTH.search(received[: end + 2])
        while not _is_complete(received, end + 4, length):
            received += _more(connection)
        if not received.startswith(b"HTTP/1.1 2"):
            raise RuntimeError(received.decode(errors="replace")[:1_000])
        return received[end + 4 :] if length else b"".join(_chunks(received[end + 4 :]))


def _is_complete(received: bytes, start: int, length: re.Match[bytes] | None) -> bool:
    return len(received) >= start + int(length[1]) if length else received.endswith(b"\r\n0\r\n\r\n")


def _chunks(body: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(body):
        end = body.index(b"\r\n", at)
        size = int(body[at:end], 16)
        yield body[end + 2 : end + 2 + size]
        at = end + 2 + size + 2


def _more(connection: socket.socket) -> bytes:
    if not (data := connection.recv(262_144)):
        raise RuntimeError("the server closed the connection")
    return data


class Soma:
    """SomaMemory over HTTP. It embeds texts and queries itself, with the model that created the vectors."""

    kinds = ("fetch", "store", "semantic", "filtered", "hybrid")

    def __init__(self, options: dict[str, Any]) -> None:
        self.roots = set(options["roots"])
        self._http = Http(options["port"], f"Authorization: Bearer {options['key']}\r\n")

    def fill(self, items: Sequence[Item]) -> None:
        for at in range(0, len(items), BATCH):
            self._http.call("POST", "/memories/bulk", {"items": [self._body(item) for item in items[at : at + BATCH]]})
        while self._http.call("GET", "/stats")["index"]["pending"]:
            time.sleep(0.2)

    def fetch(self, number: int) -> object:
        return self._http.call("GET", f"/memories/{number}")

    def store(self, item: Item) -> object:
        return self._http.call("POST", "/memories", self._body(item))

    def search(self, kind: str, item: Item) -> list[int]:
        body: dict[str, Any] = {"query": item.text, "top_k": TOP, "mode": "hybrid" if kind == "hybrid" else "semantic"}
        if kind == "filtered":
            body["filters"] = {"metadata.group": item.group}
        found = self._http.call("POST", "/memories/search", body)
        return [int(float(hit["coord"])) for hit in found["memories"]]

    @staticmethod
    def _body(item: Item) -> dict[str, Any]:
        return {"coord": [item.number], "payload": {"text": item.text}, "metadata": {"group": item.group}}


class Chroma:
    """Chroma's server over HTTP. It receives the vectors of memories and queries."""

    kinds = ("fetch", "store", "semantic", "filtered")
    _BASE = "/api/v2/tenants/default_tenant/databases/default_database/collections"

    def __init__(self, options: dict[str, Any]) -> None:
        port = _free_port()
        command = [options["programs"] + "/chroma", "run", "--path", options["folder"], "--port", str(port)]
        with pathlib.Path(options["folder"], "log").open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        self.roots = {self._process.pid}
        self._http = Http(port)
        _wait_for(port)
        configuration = {"hnsw": {"space": "cosine"}}
        made = self._http.call("POST", self._BASE, {"name": "memories", "configuration": configuration})
        self._path = f"{self._BASE}/{made['id']}"

    def fill(self, items: Sequence[Item]) -> None:
        for at in range(0, len(items), BATCH):
            self._add(items[at : at + BATCH])

    def fetch(self, number: int) -> object:
        body = {"ids": [str(number)], "include": ["documents", "metadatas"]}
        return self._http.call("POST", f"{self._path}/get", body)

    def store(self, item: Item) -> object:
        return self._add([item])

    def search(self, kind: str, item: Item) -> list[int]:
        body: dict[str, Any] = {
            "query_embeddings": [item.vector],
            "n_results": TOP,
            "include": ["documents", "distances"],
        }
        if kind == "filtered":
            body["where"] = {"group": item.group}
        return [int(id) for id in self._http.call("POST", f"{self._path}/query", body)["ids"][0]]

    def _add(self, items: Sequence[Item]) -> object:
        body = {
            "ids": [str(item.number) for item in items],
            "embeddings": [item.vector for item in items],
            "documents": [item.text for item in items],
            "metadatas": [{"group": item.group} for item in items],
        }
        return self._http.call("POST", f"{self._path}/add", body)

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(30)


class LangGraph:
    """LangGraph's PostgresStore with pgvector, called in this process, without HTTP."""

    kinds = ("fetch", "store", "semantic", "filtered")

    def __init__(self, options: dict[str, Any]) -> None:
        from langgraph.store.postgres import PostgresStore

        self._vectors: dict[str, list[float]] = {}
        self.roots = {os.getpid(), options["postmaster"]}
        self._stack = contextlib.ExitStack()
        index: Any = {"dims": options["dimension"], "embed": self._embed, "fields": ["text"]}
        pool: Any = {"min_size": 1, "max_size": 8}
        opened = PostgresStore.from_conn_string(options["database"], pool_config=pool, index=index)
        self._store = self._stack.enter_context(opened)
        self._store.setup()

    def fill(self, items: Sequence[Item]) -> None:
        from langgraph.store.base import PutOp

        for at in range(0, len(items), BATCH):
            part = items[at : at + BATCH]
            self._vectors |= {item.text: item.vector for item in part}
            self._store.batch([PutOp(("memories",), str(item.number), self._value(item)) for item in part])
            self._vectors.clear()

    def fetch(self, number: int) -> object:
        return self._store.get(("memories",), str(number))

    def store(self, item: Item) -> object:
        self._vectors[item.text] = item.vector
        return self._store.put(("memories",), str(item.number), self._value(item))

    def search(self, kind: str, item: Item) -> list[int]:
        self._vectors[item.text] = item.vector
        only = {"group": item.group} if kind == "filtered" else None
        return [int(hit.key) for hit in self._store.search(("memories",), query=item.text, limit=TOP, filter=only)]

    def close(self) -> None:
        self._stack.close()

    def _embed(self, texts: Sequence[str]) -> list[list[float]]:
        return [self._vectors[text] for text in texts]

    @staticmethod
    def _value(item: Item) -> dict[str, Any]:
        return {"text": item.text, "group": item.group}


class Mem0:
    """mem0's Memory with pgvector, called in this process, without HTTP and without a language model."""

    kinds = ("fetch", "store", "semantic", "filtered")

    def __init__(self, options: dict[str, Any]) -> None:
        os.environ["MEM0_TELEMETRY"] = "False"
        os.environ["MEM0_DIR"] = options["folder"]
        from mem0 import Memory

        self.roots = {os.getpid(), options["postmaster"]}
        self._vectors: dict[str, list[float]] = {}
        self._ids: dict[int, str] = {}
        self._numbers: dict[str, int] = {}
        vectors = {"connection_string": options["database"], "embedding_model_dims": options["dimension"], "maxconn": 8}
        unused = {"provider": "openai", "config": {"api_key": "unused", "openai_base_url": "http://127.0.0.1:9"}}
        configuration = {
            "vector_store": {"provider": "pgvector", "config": vectors},
            "llm": unused,
            "embedder": unused,
            "history_db_path": f"{options['folder']}/history.db",
        }
        self._memory: Any = Memory.from_config(configuration)
        self._memory.embedding_model = self

    def embed(self, text: str, memory_action: str = "") -> list[float]:
        return self._vectors[text]

    def embed_batch(self, texts: Sequence[str], memory_action: str = "") -> list[list[float]]:
        return [self._vectors[text] for text in texts]

    def fill(self, items: Sequence[Item]) -> None:
        for at in range(0, len(items), BATCH):
            part = items[at : at + BATCH]
            ids = [str(uuid.uuid4()) for _ in part]
            payloads = [{"data": item.text, "user_id": "ada", "group": item.group} for item in part]
            self._memory.vector_store.insert([item.vector for item in part], payloads, ids)
            for item, id in zip(part, ids, strict=True):
                self._ids[item.number], self._numbers[id] = id, item.number

    def fetch(self, number: int) -> object:
        return self._memory.get(self._ids[number])

    def store(self, item: Item) -> object:
        self._vectors[item.text] = item.vector
        return self._memory.add(item.text, user_id="ada", metadata={"group": item.group}, infer=False)

    def search(self, kind: str, item: Item) -> list[int]:
        self._vectors[item.text] = item.vector
        only: dict[str, Any] = {"user_id": "ada"} | ({"group": item.group} if kind == "filtered" else {})
        found = self._memory.search(item.text, top_k=TOP, filters=only, threshold=0.0)
        return [self._numbers.get(hit["id"], -1) for hit in found["results"]]


STORES: dict[str, Any] = {"soma": Soma, "chroma": Chroma, "langgraph": LangGraph, "mem0": Mem0}


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


def _wait_for(port: int, timeout_s: float = 60) -> None:
    until = time.monotonic() + timeout_s
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        if time.monotonic() > until:
            raise RuntimeError(f"nothing is listening on port {port}")
        time.sleep(0.05)
