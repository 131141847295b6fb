"""Send MCP messages to the server for this data folder or, if no server is running, process them in this process.

Several processes can serve a data folder at the same time, because they share the database and the index. It is
therefore safe to start a server later.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from typing import Any

from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.core.management import call_command

from api.mcp.remote_server import RemoteServer, Unreachable
from memories import index
from memories.embeddings import current
from memories.index import generations
from somamemory import checks, files, server_address
from somamemory.errors import ConfigurationError, IndexUnavailable
from somamemory.scheduling import scheduler
from tenants import bootstrap

PING = b'{"jsonrpc":"2.0","id":0,"method":"ping"}'

Send = Callable[[bytes, dict[str, str]], tuple[int, str, bytes]]


@contextmanager
def opened(path: str, api_key: str | None, tenant: str | None) -> Iterator[Send]:
    """Yield a function that sends a message to the endpoint at `path`.

    Raises ConfigurationError if there is no key, or if the key or the tenant cannot be sent in a header.
    """
    key = api_key or _first_key()
    if key is not None and (running := _running(path, key, tenant)) is not None:
        yield running.send
        return
    with _started():
        key = key or _first_key()
        if key is None:
            raise ConfigurationError(
                f"{bootstrap.path()} no longer exists; set SOMA_API_KEY to a key for this installation"
            )
        yield InProcess(WSGIHandler(), path, key, tenant).send


def _first_key() -> str | None:
    return bootstrap.path().read_text().strip() if bootstrap.path().exists() else None


def _running(path: str, key: str, tenant: str | None) -> RemoteServer | None:
    """Return the MCP server on this machine that accepts the key, if there is one."""
    server = RemoteServer(server_address.local_url(settings.HOST, settings.PORT), path, key, tenant)
    try:
        status, _, content = server.send_once(PING, {})
    except Unreachable:
        return None
    return server if status == 200 and b'"jsonrpc"' in content else None  # another program may use the port


@contextmanager
def _started() -> Iterator[None]:
    """Prepare the data folder and start the background work, as a server does."""
    checks.refuse_impossible_settings()
    files.create_privately()
    call_command("bootstrap", stdout=sys.stderr)
    generations.check_settings()
    with suppress(IndexUnavailable):  # keyword search works without the index, and indexing is retried
        index.try_out(generations.active())
    if (embedder := current()).in_process:
        embedder.embed(["warm"])
    scheduler.start()
    try:
        yield
    finally:
        if scheduler.stop(settings.STOP_TIMEOUT_S / 2):
            index.close_all()


class InProcess:
    """The MCP endpoint in this process. Messages pass through the complete WSGI application."""

    def __init__(self, application: WSGIHandler, path: str, api_key: str, tenant: str | None) -> None:
        self._application = application
        path, _, query = path.partition("?")
        self._environ: dict[str, Any] = {
            "REQUEST_METHOD": "POST",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": "application/json",
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "127.0.0.1",
            "HTTP_HOST": "localhost",
            "HTTP_AUTHORIZATION": f"Bearer {api_key}",
            "wsgi.url_scheme": "http",
            "wsgi.errors": sys.stderr,
            **({"HTTP_X_TENANT": tenant} if tenant else {}),
        }

    def send(self, body: bytes, headers: dict[str, str]) -> tuple[int, str, bytes]:
        """Send a message. Return the response's status, media type and content."""
        environ = {**self._environ, "CONTENT_LENGTH": str(len(body)), "wsgi.input": BytesIO(body)}
        environ |= {"HTTP_" + name.upper().replace("-", "_"): value for name, value in headers.items()}
        answer: dict[str, Any] = {}

        def start_response(status: str, fields: list[tuple[str, str]], *_: object) -> Callable[[bytes], object]:
            answer.update(status=int(status[:3]), fields={name.lower(): value for name, value in fields})
            return lambda data: None

        response = self._application(environ, start_response)
        try:
            content = b"".join(response)
        finally:
            response.close()
        return answer["status"], answer["fields"].get("content-type", "").partition(";")[0], content
