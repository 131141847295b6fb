"""An HTTP client for other services, with one deadline for a whole call.

The timeouts of httpx2 apply to each read, so it would wait for hours for a response that arrives one byte at a time.
Here, each operation on the connection gets only the time that is left.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any

import httpcore2
import httpx2

_PIECE = 64 * 1024  # bytes
_ends_at: ContextVar[float] = ContextVar("ends_at")


@contextmanager
def deadline(ends_at: float) -> Iterator[None]:
    """End calls inside this context at a time on the `time.monotonic` clock, by raising `httpx2.TimeoutException`."""
    token = _ends_at.set(ends_at)
    try:
        yield
    finally:
        _ends_at.reset(token)


def client(**options: Any) -> httpx2.Client:
    """Return a client whose calls must be made, and their responses read, inside `deadline`.

    It does not follow redirects, which could send keys and data to an address that is not in the settings.
    """
    made = httpx2.Client(follow_redirects=False, **options)
    for transport in (made._transport, *made._mounts.values()):  # the latter connect through proxies
        if isinstance(transport, httpx2.HTTPTransport):
            transport._pool._network_backend = _Backend()  # httpx2 has no parameter for this
    return made


class _Backend(httpcore2.SyncBackend):
    def connect_tcp(self, host: str, port: int, timeout: float | None = None, *args: Any, **options: Any) -> _Stream:
        *others, last = self._addresses(host, port)  # tried here because the timeout applies to each address
        for position, address in enumerate(others):
            share_s = _left_s(None, httpcore2.ConnectTimeout) / (len(others) + 1 - position)
            at_most_s = share_s if timeout is None else min(share_s, timeout)
            with suppress(httpcore2.ConnectError, httpcore2.ConnectTimeout):
                return self._connected(address, port, at_most_s, *args, **options)
        return self._connected(last, port, timeout, *args, **options)

    def _addresses(self, host: str, port: int) -> list[str]:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise httpcore2.ConnectError(str(error)) from error
        return [str(address[0]) for *_, address in found]

    def _connected(self, address: str, port: int, timeout: float | None, *args: Any, **options: Any) -> _Stream:
        left_s = _left_s(timeout, httpcore2.ConnectTimeout)
        return _Stream(super().connect_tcp(address, port, left_s, *args, **options))


class _Stream(httpcore2.NetworkStream):
    """A connection whose operations end at the deadline of the current call."""

    def __init__(self, stream: httpcore2.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left_s(timeout, httpcore2.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), _PIECE):  # in pieces, because the timeout applies to each part that is sent
            left_s = _left_s(timeout, httpcore2.WriteTimeout)
            self._stream.write(buffer[start : start + _PIECE], left_s)

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> _Stream:
        left_s = _left_s(timeout, httpcore2.ConnectTimeout)
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, left_s))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _left_s(timeout: float | None, error: type[httpcore2.TimeoutException]) -> float:
    left_s = _ends_at.get() - time.monotonic()
    if left_s <= 0:
        raise error("the deadline has passed")
    return left_s if timeout is None else min(left_s, timeout)
