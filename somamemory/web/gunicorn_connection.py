"""A client connection: the bytes received so far, and the bytes still to be sent.

Reading and writing do not block, except for a moment in `receive_within`. Only one thread at a time uses a connection:
the worker's main thread while it waits for the client, and a pool thread while its request is processed.
"""

from __future__ import annotations

import contextlib
import select
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from enum import Enum, auto
from itertools import islice
from typing import Any

from gunicorn.config import Config
from gunicorn.http.errors import InvalidHeader, LimitRequestHeaders
from gunicorn.http.parser import RequestParser
from gunicorn.http.unreader import Unreader

from somamemory.web.request_framing import MAX_HEAD_BYTES, Head, find_head

_PARSED_AT_ONCE_BYTES = 1024 * 1024
_BUFFERS_AT_ONCE = 64


class Phase(Enum):
    """The event that a connection is waiting for."""

    IDLE = auto()  # the next request
    HEAD = auto()
    BODY = auto()
    WRITE = auto()  # until the client has received the response
    CLOSING = auto()  # until the client has also closed its side


class Outcome(Enum):
    """The next step for a connection after a thread's output has been sent."""

    KEEP = auto()
    CLOSE = auto()
    DROP = auto()  # immediately: the client is gone, or the response cannot be completed
    PAUSED = auto()  # continue the response
    NEEDS_BODY = auto()  # process the request again when its body has arrived


class BodyPending(BaseException):
    """The application tried to read a body that has not arrived yet.

    This is not an Exception, so that no layer handles or logs it: the request has no outcome yet.
    """


class MissingHost(InvalidHeader):  # type: ignore[misc]
    """An HTTP/1.1 request without a Host header, which gunicorn would accept (RFC 9112, section 3.2)."""

    def __str__(self) -> str:
        return "an HTTP/1.1 request must have a Host header"


class BodyCutOff(InvalidHeader):  # type: ignore[misc]
    """A request whose client stopped sending before the end of the body (RFC 9112, section 6.3)."""

    def __str__(self) -> str:
        return "the body is shorter than its Content-Length; send it again"


class Received(Unreader):  # type: ignore[misc]
    """gunicorn's input: the bytes received so far, never the socket.

    at_end: raised when the bytes are used up.
    """

    def __init__(self, data: bytes | bytearray, head_size: int, at_end: BaseException | None) -> None:
        super().__init__()
        self._data, self._position, self._head_size, self._at_end = data, 0, head_size, at_end

    def chunk(self, size_hint: int | None = None) -> bytes:
        # Pass only the head at first, because the parser makes several copies of the first piece of input that it gets.
        end = self._head_size if self._position < self._head_size else self._position + _PARSED_AT_ONCE_BYTES
        piece = bytes(memoryview(self._data)[self._position : end])  # an open view would lock the bytearray
        self._position += len(piece)
        if not piece and self._at_end is not None:
            raise self._at_end
        return piece

    def take_rest(self) -> bytes:
        """Remove and return the bytes that no request has used."""
        buffered: bytes = self.take_buffered()
        return buffered + bytes(self._data[self._position :])


class Outbox:
    """The output of a connection. gunicorn writes its responses here as if it were the socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._pieces: deque[memoryview] = deque()
        self.size = 0

    def sendall(self, data: bytes) -> None:
        if data:
            self._pieces.append(memoryview(data))
            self.size += len(data)

    def flush(self) -> int:
        """Send as much as possible without waiting, and return how many bytes remain.

        Raises ConnectionError if the client is gone.
        """
        while self._pieces:
            try:
                sent = self._sock.sendmsg(list(islice(self._pieces, _BUFFERS_AT_ONCE)))
            except BlockingIOError:
                break
            except OSError as error:
                raise ConnectionResetError from error
            self._remove(sent)
        return self.size

    def _remove(self, sent: int) -> None:
        self.size -= sent
        while self._pieces and sent >= len(self._pieces[0]):
            sent -= len(self._pieces.popleft())
        if sent:
            self._pieces[0] = self._pieces[0][sent:]


class Connection:
    """A client's connection with its current request and response."""

    def __init__(self, sock: socket.socket, client: Any, server: Any) -> None:
        self.sock, self.client, self.server = sock, client, server
        self.out = Outbox(sock)
        self._arrival = select.poll()
        self._arrival.register(sock, select.POLLIN)
        self.phase, self.outcome = Phase.HEAD, Outcome.KEEP
        self.since = self.deadline = 0.0  # start and end of the phase, in `monotonic` time
        self.discarded = 0  # bytes received after the response
        self.is_closed = self.has_ended = False  # has_ended: the client will send nothing more
        self._begin_request(b"")

    def _begin_request(self, received: bytes) -> None:
        self.received = bytearray(received)
        self.searched = 0
        self.head: Head | None = None
        self.is_tried = False  # the request was processed before its body had arrived
        self.parser: Any = None
        self.response: Any = None
        self.result: Iterable[bytes] | None = None  # the application's response body
        self.pieces: Iterator[bytes] = iter(())

    def wait(self, phase: Phase, seconds: float) -> None:
        self.phase, self.since = phase, time.monotonic()
        self.deadline = self.since + seconds

    @property
    def held(self) -> int:
        return len(self.received) + self.out.size

    @property
    def is_complete(self) -> bool:
        return self._missing == 0

    @property
    def is_cut_off(self) -> bool:
        return self.has_ended and bool(self._missing)

    @property
    def _missing(self) -> int | None:
        """Return how many bytes of the request have not arrived yet, or None if the number is unknown."""
        head = self.head
        if head is None or head.body_size is None:
            return None
        return max(0, head.size + head.body_size - len(self.received))

    def receive(self, data: bytes) -> None:
        self.received += data
        if self.head is None:
            self.head = find_head(self.received, self.searched)
            self.searched = len(self.received)

    def receive_within(self, milliseconds: int, most: int) -> None:
        """Receive the bytes that arrive within this time.

        Ignore an error or the end of the stream, because the next read reports it as well.
        """
        with contextlib.suppress(OSError):
            if self._arrival.poll(milliseconds):
                self.receive(self.sock.recv(most))

    def is_due(self, max_body_bytes: int) -> bool:
        """Return whether a thread can process the request now, or would reject it in any case."""
        head = self.head
        if head is None:
            return len(self.received) > MAX_HEAD_BYTES
        if head.body_size is None or head.body_size > max_body_bytes:
            return True
        return self.is_complete or self.has_ended or (head.expects_continue and not self.is_tried)

    def parse(self, cfg: Config) -> Any:
        """Return gunicorn's request.

        Raises whatever gunicorn's parser raises, and StopIteration if there are no more requests.
        """
        at_end: BaseException | None = None
        if self.head is None:
            at_end = LimitRequestHeaders(f"the head is longer than {MAX_HEAD_BYTES} bytes")
        elif not self.is_complete and not self.has_ended:
            at_end = BodyPending()
        self.parser = RequestParser(cfg, iter(()), self.client)
        self.parser.unreader = Received(self.received, self.head.size if self.head else 0, at_end)
        request = next(self.parser)
        if request.version >= (1, 1) and not any(name == "HOST" for name, _ in request.headers):
            raise MissingHost("Host", req=request)
        if self.is_cut_off:
            raise BodyCutOff("Content-Length", req=request)
        return request

    def begin_response(self, response: Any, result: Iterable[bytes]) -> None:
        self.response, self.result, self.pieces = response, result, iter(result)

    def end_response(self) -> None:
        """Release the resources that the application holds for the response."""
        result, self.result = self.result, None
        close: Callable[[], None] | None = getattr(result, "close", None)  # WSGI: if it has one
        if close is not None:
            close()

    def next_request(self) -> None:
        """Discard the completed request. Bytes received after that request belong to the next one."""
        unread = self.parser.unreader.take_rest()
        self._begin_request(b"")
        self.receive(unread)
