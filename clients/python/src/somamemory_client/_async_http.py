"""Send requests over asyncio streams that are kept open.

The standard library's `http.client` blocks, and asynchronous HTTP libraries take 0.9 ms of CPU time per request. The
client does not request compression, and sends one request at a time on each connection, so reading responses takes
little code.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from http.client import parse_headers
from io import BytesIO

from ._address import Address, broken, not_connected
from ._http import CONNECT_TIMEOUT_S, MAX_IDLE_CONNECTIONS, MAX_IDLE_S
from ._messages import Request, Response
from .errors import InvalidResponse

MAX_HEAD_BYTES = 256 * 1024
WITHOUT_BODY = (204, 304)
_BROKEN = (OSError, EOFError, asyncio.LimitOverrunError, ValueError)


class AsyncHttpTransport:
    """Keeps a connection pool for each event loop, because only one loop can use a connection."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._idle: dict[asyncio.AbstractEventLoop, deque[_Connection]] = {}

    async def send(self, request: Request, timeout_s: float) -> Response:
        connection: _Connection | None = None
        try:
            async with asyncio.timeout(timeout_s):
                connection = await self._take()
                response = await connection.exchange(request, self.address)
        except _BROKEN as error:
            self._drop(connection)
            if connection is None:
                raise not_connected(
                    self.address, error if isinstance(error, OSError) else OSError(str(error))
                ) from error
            raise broken(self.address, request, error) from error
        except BaseException:  # such as a cancellation; the next request must not read the rest of the response
            self._drop(connection)
            raise
        self._keep(connection)
        return response

    async def _take(self) -> _Connection:
        idle = self._pool()
        while idle:
            connection = idle.pop()
            if connection.is_usable():
                return connection
            connection.close()
        return await _Connection.open(self.address)

    def _keep(self, connection: _Connection) -> None:
        idle = self._pool()
        if connection.keeps_open and len(idle) < MAX_IDLE_CONNECTIONS:
            idle.append(connection)
        else:
            connection.close()

    def _pool(self) -> deque[_Connection]:
        """Return the idle connections of the running loop."""
        loop = asyncio.get_running_loop()
        if loop not in self._idle:
            for closed in [other for other in list(self._idle) if other.is_closed()]:
                self._idle.pop(closed, None)
            self._idle[loop] = deque()
        return self._idle[loop]

    def _drop(self, connection: _Connection | None) -> None:
        if connection is not None:
            connection.close()

    async def close(self) -> None:
        for loop, idle in list(self._idle.items()):
            with contextlib.suppress(RuntimeError):  # if the loop is closed
                loop.call_soon_threadsafe(_close_all, idle)
        await asyncio.sleep(0)  # lets the running loop close its connections


def _close_all(idle: deque[_Connection]) -> None:
    while idle:
        idle.pop().close()


class _Connection:
    """A connection that sends one request at a time and reads its response."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._used_at = 0.0
        self.keeps_open = True

    @classmethod
    async def open(cls, address: Address) -> _Connection:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            try:
                return cls(
                    *await asyncio.open_connection(
                        address.host, address.port, ssl=address.context, limit=MAX_HEAD_BYTES
                    )
                )
            except UnicodeError as error:  # a host name with an empty or overlong label
                raise OSError(str(error)) from error

    def is_usable(self) -> bool:
        is_fresh = time.monotonic() - self._used_at < MAX_IDLE_S
        return is_fresh and not self._reader.at_eof() and not self._writer.is_closing()

    async def exchange(self, request: Request, address: Address) -> Response:
        # Do not wait for `drain`: a server that rejects a large body may respond before it has received all of it.
        self._writer.write(_head(request, address) + (request.body or b""))
        status, headers = await self._read_head()
        while status < 200:  # such as 103 Early Hints
            status, headers = await self._read_head()
        body = b"" if status in WITHOUT_BODY else await self._read_body(headers)
        is_sent = self._writer.transport.get_write_buffer_size() == 0
        self.keeps_open = self.keeps_open and is_sent and headers.get("connection", "").lower() != "close"
        self._used_at = time.monotonic()
        return Response(status, headers, body)

    async def _read_head(self) -> tuple[int, dict[str, str]]:
        head = await self._reader.readuntil(b"\r\n\r\n")
        line, _, rest = head.partition(b"\r\n")
        version, _, status = line.partition(b" ")
        if not version.startswith(b"HTTP/1.") or not status[:3].isdigit():
            raise InvalidResponse(f"the response is not HTTP/1: {line[:100]!r}")
        self.keeps_open = version != b"HTTP/1.0"
        return int(status[:3]), {name.lower(): value for name, value in parse_headers(BytesIO(rest)).items()}

    async def _read_body(self, headers: dict[str, str]) -> bytes:
        if headers.get("transfer-encoding", "").lower() == "chunked":
            return await self._read_chunks()
        if "content-length" in headers:
            return await self._reader.readexactly(int(headers["content-length"]))
        self.keeps_open = False
        return await self._reader.read()

    async def _read_chunks(self) -> bytes:
        chunks = []
        while size := int((await self._reader.readuntil(b"\r\n")).partition(b";")[0], 16):
            chunks.append(await self._reader.readexactly(size))
            await self._reader.readexactly(2)
        while await self._reader.readuntil(b"\r\n") != b"\r\n":  # trailers
            pass
        return b"".join(chunks)

    def close(self) -> None:
        self._writer.close()


def _head(request: Request, address: Address) -> bytes:
    has_length = request.body is not None or request.method in ("POST", "PUT", "PATCH")
    length = f"Content-Length: {len(request.body or b'')}\r\n" if has_length else ""
    headers = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    line = f"{request.method} {address.path}{request.target} HTTP/1.1\r\nHost: {address.host_header}\r\n"
    return f"{line}{headers}{length}\r\n".encode("latin-1")
