"""Server URLs, and the errors that both HTTP transports raise."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from urllib.parse import urlsplit

from ._messages import Request
from .errors import ConnectionFailed, ConnectionLost, InvalidArgument, ResponseTimeout, TransportError

USER_AGENT = "somamemory-client-python"
MAX_BODY_BYTES = 1024 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Address:
    """A server URL, split into its parts.

    `context` is set only for https. `path` is the prefix under which a reverse proxy serves the API, if there is one.
    """

    host: str
    port: int
    path: str
    context: ssl.SSLContext | None

    @classmethod
    def parse(cls, url: str, context: ssl.SSLContext | None = None) -> Address:
        """Parse a URL such as http://127.0.0.1:9595. Raises InvalidArgument if it is invalid."""
        if not isinstance(url, str):
            raise InvalidArgument("base_url", f"must be text, not {type(url).__name__}; use str(url)")
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise InvalidArgument("base_url", f"{error}; use a URL such as http://127.0.0.1:9595") from None
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise InvalidArgument("base_url", f"must be a URL such as http://127.0.0.1:9595, not {url!r}")
        if parts.username or parts.password:
            raise InvalidArgument("base_url", "must not contain a password; use api_key")
        is_secure = parts.scheme == "https"
        return cls(
            parts.hostname,
            port or (443 if is_secure else 80),
            parts.path.rstrip("/"),
            (context or ssl.create_default_context()) if is_secure else None,
        )

    @property
    def host_header(self) -> str:
        name = f"[{self.host}]" if ":" in self.host else self.host
        return name if self.port == (443 if self.context else 80) else f"{name}:{self.port}"

    def __str__(self) -> str:
        return f"{'https' if self.context else 'http'}://{self.host_header}{self.path}"


def not_connected(address: Address, error: OSError) -> ConnectionFailed:
    reason = error.strerror or str(error) or type(error).__name__
    return ConnectionFailed(
        f"could not connect to {address}: {reason}; check that the server is running and the URL is correct"
    )


def broken(address: Address, request: Request, error: Exception) -> TransportError:
    """Return the error for a request that was sent but did not get a complete response."""
    what = f"{request.method} {request.target.partition('?')[0]}"
    if isinstance(error, TimeoutError):
        return ResponseTimeout(f"{what}: {address} did not respond in time")
    reason = str(error) or type(error).__name__
    return ConnectionLost(f"{what}: the connection to {address} ended before the response was complete: {reason}")
