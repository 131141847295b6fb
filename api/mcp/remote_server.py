"""Send MCP messages to a server over HTTP, on one connection."""

from __future__ import annotations

from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import SplitResult, urlsplit

from somamemory.errors import ConfigurationError
from somamemory.retry import RetryPolicy

TIMEOUT_S = 90.0  # longer than the deadline for any request to /mcp
# A server that is restarting responds within this time. Each message has an Idempotency-Key, so a retry is safe.
_RETRIES = RetryPolicy(attempts=4, first_pause_s=0.25)


class Unreachable(Exception):
    """Raised if a server does not respond. The error message says what to do."""


class RemoteServer:
    """The MCP endpoint of a server.

    url: the server's URL, such as `https://memory.example.com`, optionally with a path before `/mcp`.
    path: the endpoint's path, including the query.

    Raises ConfigurationError if the URL is invalid, or if the key or the tenant cannot be sent in a header.
    """

    def __init__(self, url: str, path: str, api_key: str, tenant: str | None = None) -> None:
        parts = _parsed(url)
        for name, value in (("SOMA_API_KEY", api_key), ("SOMA_TENANT", tenant or "")):
            if not (value.isascii() and value.isprintable()):
                raise ConfigurationError(f"{name} must contain only printable ASCII characters, and no line breaks")
        kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        self._url, self._path = url, parts.path.rstrip("/") + path
        self._connection = kind(str(parts.hostname), parts.port, timeout=TIMEOUT_S)
        self._headers = {"Authorization": f"Bearer {api_key}", "Content-Type": "application/json"}
        if tenant:
            self._headers["X-Tenant"] = tenant

    def send(self, body: bytes, headers: dict[str, str]) -> tuple[int, str, bytes]:
        """Send a message. Return the response's status, media type and content.

        Raises Unreachable if the server does not respond.
        """
        try:
            return _RETRIES.run(lambda: self.send_once(body, headers), lambda error: isinstance(error, Unreachable))
        except Unreachable as error:
            raise Unreachable(f"{error}; start it with `somamemory serve`, or correct SOMA_URL") from None

    def send_once(self, body: bytes, headers: dict[str, str]) -> tuple[int, str, bytes]:
        try:
            self._connection.request("POST", self._path, body, self._headers | headers)
            response = self._connection.getresponse()
            content = response.read()
        except (OSError, HTTPException) as error:
            self._connection.close()
            raise Unreachable(f"no server is responding at {self._url} ({type(error).__name__})") from error
        return response.status, response.headers.get_content_type(), content


def _parsed(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        is_valid = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0  # raises ValueError
    except ValueError:
        is_valid = False
    if not is_valid:
        raise ConfigurationError(f"SOMA_URL must be an http or https URL, not {url!r}")
    return parts
