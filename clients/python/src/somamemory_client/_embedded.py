"""Run the service in this process, and send requests to its WSGI application."""

from __future__ import annotations

import asyncio
import io
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

from ._messages import Request, Response
from .errors import InvalidArgument

THREADS = 8
Application = Callable[..., Any]  # a WSGI application; to type checkers, Django's response is not an Iterable


class EmbeddedTransport:
    """Calls a WSGI application. Thread-safe."""

    def __init__(self, application: Application, api_key: str = "") -> None:
        self.application = application
        self.api_key = api_key

    @classmethod
    def open(cls, folder: Path) -> EmbeddedTransport:
        """Start the service with its data in a folder, unless it is already running.

        Raises InvalidArgument if the service is not installed or cannot use the folder.
        """
        try:
            from somamemory import embedded
            from somamemory.errors import ConfigurationError
        except ImportError as error:
            raise InvalidArgument(
                "path", f"the service is not installed ({error}); install it with `pip install somamemory`"
            ) from None
        try:
            running = embedded.start(folder)
        except ConfigurationError as error:
            raise InvalidArgument("path", str(error)) from error
        return cls(running.application, running.api_key)

    def send(self, request: Request, timeout_s: float) -> Response:
        """Send a request, and return the response. Ignores the timeout, because the service has its own deadlines."""
        start = _Start()
        chunks = self.application(_environ(request), start)
        try:
            body = b"".join(chunks)
        finally:
            close = getattr(chunks, "close", None)
            if close is not None:
                close()
        return Response(start.status, start.headers, body)

    def close(self) -> None:
        """Do nothing. The service runs until the process ends, because other clients may use it."""


class AsyncEmbeddedTransport:
    """Calls a WSGI application in threads, so that the event loop is not blocked."""

    def __init__(self, inner: EmbeddedTransport) -> None:
        self.inner = inner
        self.api_key = inner.api_key
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="soma-embedded")

    @classmethod
    def open(cls, folder: Path) -> AsyncEmbeddedTransport:
        """Start the service with its data in a folder, unless it is already running.

        Raises InvalidArgument if the service is not installed or cannot use the folder.
        """
        return cls(EmbeddedTransport.open(folder))

    async def send(self, request: Request, timeout_s: float) -> Response:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self.inner.send, request, timeout_s)

    async def close(self) -> None:
        """Do nothing. The service runs until the process ends, because other clients may use it."""


class _Start:
    """WSGI's `start_response` callable, which stores the status and the headers."""

    status = 500
    headers: dict[str, str]

    def __call__(self, status: str, headers: list[tuple[str, str]], error: object = None) -> None:
        self.status = int(status[:3])
        self.headers = {name.lower(): value for name, value in headers}


def _environ(request: Request) -> dict[str, Any]:
    path, _, query = request.target.partition("?")
    body = request.body or b""
    environ: dict[str, Any] = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
        "QUERY_STRING": query,
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": "localhost",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for name, value in request.headers.items():
        variable = name.upper().replace("-", "_")
        environ[variable if variable == "CONTENT_TYPE" else f"HTTP_{variable}"] = value
    return environ
