"""A real server for the adapter tests, with an embedding model that the test suite can choose."""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import pytest

from somamemory_client import AsyncClient, Client
from testing.server import ROOT, Server

Embed = Callable[[list[str]], Sequence[Sequence[float]]]


class ProjectServer(Server):
    """A server run from the .venv of this checkout, because the frameworks' environment does not have it."""

    python = str(ROOT / ".venv" / "bin" / "python")


@contextmanager
def server(embed: Embed | None = None, dimension: int = 0) -> Iterator[Server]:
    """Run a server in a new folder. If `embed` is given, it computes the embeddings."""
    with TemporaryDirectory() as folder, _provider(embed) as url:
        settings = {
            "SOMA_EMBEDDING_PROVIDER": "openai",
            "SOMA_EMBEDDING_BASE_URL": url,
            "SOMA_EMBEDDING_MODEL": "test",
            "SOMA_EMBEDDING_DIMENSION": str(dimension),
        }
        with ProjectServer(Path(folder), **(settings if embed else {})) as running:
            yield running


@contextmanager
def _provider(embed: Embed | None) -> Iterator[str]:
    """Serve embeddings in the format of OpenAI's API, and yield the base URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            texts = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["input"]
            data = [{"index": at, "embedding": list(vector)} for at, vector in enumerate(embed(texts) if embed else ())]
            body = json.dumps({"object": "list", "data": data, "model": "test"}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    provider = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=provider.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{provider.server_port}/v1"
    finally:
        provider.shutdown()


@pytest.fixture(scope="session")
def running() -> Iterator[Server]:
    with server() as found:
        yield found


@pytest.fixture(scope="session")
def client(running: Server) -> Client:
    return Client(f"http://127.0.0.1:{running.port}", running.key)


@pytest.fixture
async def connected(running: Server) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(f"http://127.0.0.1:{running.port}", running.key) as client:
        yield client


@pytest.fixture
def place() -> str:
    """A namespace that no other test uses."""
    return f"test/{uuid4().hex}"


@pytest.fixture(params=[".", "..", "a/../b", "é" * 60, "日" * 300, "x" * 300], ids=ascii)
def unusual(request: pytest.FixtureRequest) -> str:
    """A session id that the service does not accept unchanged."""
    return str(request.param)
