"""A server with scripted responses, and a function that calls it with either client."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Sequence
from typing import Any

from somamemory_client import AsyncClient, Client

Answer = bytes | Callable[[socket.socket], None]
OK = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n{"ok": true}\n'


class ScriptedServer:
    """Gives each request the next answer, and repeats the last one. An answer is bytes, or a function that writes to
    the socket.

    If an answer is a function, the connection is closed after it.
    """

    def __init__(self, answers: Sequence[Answer]) -> None:
        self.answers = answers
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:  # closed
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as stream:
            while line := stream.readline():
                headers = {}
                while (header := stream.readline()) not in (b"\r\n", b""):
                    name, _, value = header.decode("latin-1").partition(":")
                    headers[name.strip().lower()] = value.strip()
                body = stream.read(int(headers.get("content-length", 0)))
                self.requests.append((line.decode().strip(), headers, body))
                answer = self.answers[min(len(self.requests), len(self.answers)) - 1]
                if not isinstance(answer, bytes):
                    answer(connection)
                    return
                connection.sendall(answer)

    def headers(self, name: str) -> list[str | None]:
        """Return the value of a header in each request."""
        return [headers.get(name) for _, headers, _ in self.requests]

    def close(self) -> None:
        """Close the port immediately: a thread that waits in `accept` would otherwise keep it open."""
        with contextlib.suppress(OSError):  # macOS refuses, and ends `accept` when the listener is closed
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


Method = Callable[[Any], Any]  # calls a method of either client


def call(kind: str, url: str, method: Method, **options: Any) -> Any:
    """Return the result of a call with this kind of client, "sync" or "async"."""
    if kind == "sync":
        with Client(url, "key", **options) as client:
            return method(client)

    async def go() -> Any:
        async with AsyncClient(url, "key", **options) as client:
            return await method(client)

    return asyncio.run(go())
