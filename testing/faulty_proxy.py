"""A test proxy that simulates network and proxy failures."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException

# Faults that occur before the request is forwarded, so that it has no effect.
DROP, BUSY, UNAVAILABLE = "drop", "busy", "unavailable"
# Faults that occur after the server has responded.
LOSE, TRUNCATE, CUT_HEAD, SLOW, GATEWAY = "lose", "truncate", "cut head", "slow", "gateway"
FAULTS = (DROP, BUSY, UNAVAILABLE, LOSE, TRUNCATE, CUT_HEAD, SLOW, GATEWAY)
_REFUSALS = {BUSY: (429, "rate_limited"), UNAVAILABLE: (503, "database_busy")}


class FaultyProxy:
    """Forwards requests to a local port, with faults.

    next_fault: called for each request; returns the fault for it, or None.
    slow_s: how long a slow response is delayed. If this is longer than the client's timeout, the request times out.
    """

    def __init__(self, port: int, next_fault: Callable[[], str | None], slow_s: float = 1.0) -> None:
        self.backend = port
        self.next_fault = next_fault
        self.slow_s = slow_s
        self.faults: Counter[str] = Counter()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # the listener has been closed
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as stream, contextlib.suppress(OSError, HTTPException):
            while line := stream.readline():
                headers = {}
                while (header := stream.readline()) not in (b"\r\n", b""):
                    name, _, value = header.decode("latin-1").partition(":")
                    headers[name.strip().title()] = value.strip()
                body = stream.read(int(headers.get("Content-Length", 0)))
                if not self._answer(connection, line.decode("latin-1"), headers, body):
                    return

    def _answer(self, connection: socket.socket, line: str, headers: dict[str, str], body: bytes) -> bool:
        """Respond to one request, and return whether the connection stays open."""
        fault = self.next_fault()
        self.faults[fault or "none"] += 1
        if fault == DROP:
            return False
        if fault in _REFUSALS:
            connection.sendall(_refusal(*_REFUSALS[fault]))
            return True
        response = self._forward(line, headers, body)
        if fault == LOSE:
            return False
        if fault == SLOW:
            time.sleep(self.slow_s)
        if fault == GATEWAY:
            response = b"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>"
        if fault in (TRUNCATE, CUT_HEAD):
            connection.sendall(response[:-1] if fault == TRUNCATE else response[:20])
            return False
        connection.sendall(response)
        return True

    def _forward(self, line: str, headers: dict[str, str], body: bytes) -> bytes:
        method, target, _ = line.split(" ", 2)
        with contextlib.closing(HTTPConnection("127.0.0.1", self.backend, timeout=60)) as server:
            server.request(method, target, body or None, headers)
            response = server.getresponse()
            content = response.read()
        names = ("Content-Type", "X-Request-ID", "Retry-After", "Idempotent-Replayed", "ETag")
        kept = "".join(f"{name}: {value}\r\n" for name in names if (value := response.headers.get(name)))
        head = f"HTTP/1.1 {response.status} {response.reason}\r\n{kept}Content-Length: {len(content)}\r\n\r\n"
        return head.encode("latin-1") + content

    def close(self) -> None:
        """Close the port immediately: a thread that waits in `accept` would otherwise keep it open."""
        with contextlib.suppress(OSError):  # macOS refuses, and ends `accept` when the listener is closed
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def __enter__(self) -> FaultyProxy:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def problem(status: int, code: str, **more: str) -> bytes:
    """Return an error response in the service's format.

    more: additional headers, with underscores instead of hyphens.
    """
    body = json.dumps(
        {"type": "about:blank", "title": code, "status": status, "detail": code, "code": code, "request_id": "r1"}
    ).encode()
    headers = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in more.items())
    head = f"HTTP/1.1 {status} Problem\r\nContent-Type: application/problem+json\r\n{headers}"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def _refusal(status: int, code: str) -> bytes:
    return problem(status, code, Retry_After="0")
