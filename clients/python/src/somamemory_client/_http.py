"""Send requests with `http.client` over connections that are kept open."""

from __future__ import annotations

import contextlib
import http.client
import io
import os
import select
import socket
import time
from collections import deque
from typing import Any

from ._address import Address, broken, not_connected
from ._messages import Request, Response

MAX_IDLE_CONNECTIONS = 32
# Close connections that have been idle for longer, because the server or a proxy may close them at any time.
MAX_IDLE_S = 50.0
CONNECT_TIMEOUT_S = 10.0
_BROKEN = (OSError, http.client.HTTPException)


class HttpTransport:
    """A pool of connections to one server. Thread-safe. A forked process starts with an empty pool."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._idle: deque[_Connection] = deque()
        self._pid = os.getpid()

    def send(self, request: Request, timeout_s: float) -> Response:
        deadline = time.monotonic() + timeout_s
        connection = self._take(deadline)
        try:
            response = connection.exchange(request, self.address, deadline)
        except _BROKEN as error:
            connection.close()
            raise broken(self.address, request, error) from error
        except BaseException:  # such as KeyboardInterrupt; the next request must not read the rest of the response
            connection.close()
            raise
        if connection.is_open and len(self._idle) < MAX_IDLE_CONNECTIONS:
            self._idle.append(connection)
        else:
            connection.close()
        return response

    def _take(self, deadline: float) -> _Connection:
        if self._pid != os.getpid():
            self.close()
            self._pid = os.getpid()
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:  # another thread was faster
                break
            if connection.is_usable():
                return connection
            connection.close()
        return _Connection(self.address, deadline)

    def close(self) -> None:
        with contextlib.suppress(IndexError):  # stops at the end, even if another thread takes the last connection
            while True:
                self._idle.pop().close()


def _has_input(raw: socket.socket) -> bool:
    if not hasattr(select, "poll"):  # Windows
        return bool(select.select([raw], [], [], 0)[0])
    poll = select.poll()
    poll.register(raw, select.POLLIN)
    return bool(poll.poll(0))


class _Connection:
    """A connection whose reads and writes time out at the request's deadline."""

    def __init__(self, address: Address, deadline: float) -> None:
        """Connect to the server. Raises ConnectionFailed if the connection fails."""
        kind = http.client.HTTPSConnection if address.context else http.client.HTTPConnection
        more: dict[str, Any] = {"context": address.context} if address.context else {}
        timeout_s = max(min(deadline - time.monotonic(), CONNECT_TIMEOUT_S), 0.001)
        self._http = kind(address.host, address.port, timeout=timeout_s, **more)
        try:
            self._http.connect()
        except OSError as error:
            raise not_connected(address, error) from error
        except UnicodeError as error:  # a host name with an empty or overlong label
            raise not_connected(address, OSError(str(error))) from error
        self._raw: socket.socket = self._http.sock
        self._socket = _DeadlineSocket(self._raw)
        self._http.sock = self._socket
        self._used_at = 0.0

    @property
    def is_open(self) -> bool:
        return self._http.sock is not None

    def is_usable(self) -> bool:
        """Return whether the server has neither closed the connection nor sent unexpected data."""
        return time.monotonic() - self._used_at < MAX_IDLE_S and not _has_input(self._raw)

    def exchange(self, request: Request, address: Address, deadline: float) -> Response:
        self._socket.deadline, self._socket.at_end = deadline, False
        # A server that rejects a large body may respond and close the connection before it has received the whole body.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._http.request(request.method, address.path + request.target, request.body, request.headers)
        answer = self._http.getresponse()
        if self._socket.at_end:  # `http.client` mistakes the end of the connection for the end of the headers
            raise http.client.IncompleteRead(b"")
        body = answer.read()
        self._used_at = time.monotonic()
        headers = {name.lower(): value for name, value in answer.headers.items()}
        return Response(answer.status, headers, body)

    def close(self) -> None:
        self._http.close()
        self._raw.close()


class _DeadlineSocket:
    """The part of a socket that `http.client` uses, with one deadline for all reads and writes."""

    def __init__(self, raw: socket.socket) -> None:
        self._raw = raw
        self.deadline = 0.0
        self.at_end = False

    def sendall(self, data: bytes) -> None:
        self._arm()
        self._raw.sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Reader(self), 65536)

    def recv_into(self, buffer: memoryview) -> int:
        self._arm()
        count = self._raw.recv_into(buffer)
        self.at_end = count == 0
        return count

    def _arm(self) -> None:
        left_s = self.deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        self._raw.settimeout(left_s)

    def close(self) -> None:
        """Do nothing, because `http.client` closes its socket before it has read all of the last response."""


class _Reader(io.RawIOBase):
    def __init__(self, source: _DeadlineSocket) -> None:
        self._source = source

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        return self._source.recv_into(buffer)
