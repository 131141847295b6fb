"""Fetch client ID metadata documents: the JSON that an app publishes at its client id, a URL.

The app chooses the URL, so a request could reach services that only this server can reach. This module therefore
connects only to public addresses. It resolves the name only once, because a second answer could differ from the one
that was checked.
"""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import json
import socket
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import SplitResult, urlsplit

from console.models import MAX_URL_LENGTH
from console.oauth.protocol import OAuthError

TIMEOUT_S = 5.0  # for resolving the name, and again for fetching the document
MAX_BYTES = 16 * 1024
# In older versions of Python, `is_global` is true for some addresses that are not public. Site-local addresses and IPv4
# addresses embedded in IPv6 are outside the first network. The second network contains cloud metadata services.
_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
_SPECIAL = ipaddress.ip_network("192.0.0.0/24")
# The system's resolver has no timeout parameter. A name server that does not respond can block only these threads.
_resolvers = ThreadPoolExecutor(max_workers=4, thread_name_prefix="resolver")


def is_url(client_id: str) -> bool:
    return client_id.startswith("https://")


def fetch(url: str) -> dict[str, Any]:
    """Return the document at a URL. Raises OAuthError if the document cannot be fetched or is not valid."""
    parts = _parsed(url)
    try:
        body = _get(parts, public_address(str(parts.hostname), parts.port or 443))
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise _refused("could not be fetched") from error
    if len(body) > MAX_BYTES:
        raise _refused(f"is larger than {MAX_BYTES} bytes")
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise _refused("is not JSON") from None
    if not isinstance(document, dict) or document.get("client_id") != url:
        raise _refused("must be an object whose client_id is its own URL")
    return document


def public_address(host: str, port: int) -> str:
    """Return the address of a host. Raises OAuthError if any of its addresses is not on the public internet, and
    OSError if the host name cannot be resolved in time.
    """
    lookup = _resolvers.submit(socket.getaddrinfo, host, port, proto=socket.IPPROTO_TCP)
    try:
        addresses = [str(entry[4][0]) for entry in lookup.result(TIMEOUT_S)]
    finally:
        lookup.cancel()
    if not addresses or not all(_is_public(address) for address in addresses):
        raise _refused("must be at a public address")
    return addresses[0]


def _parsed(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - raises ValueError
    except ValueError:
        raise _refused("has an invalid URL") from None
    segments = parts.path.split("/")
    if (
        parts.scheme != "https"
        or not parts.hostname
        or len(url) > MAX_URL_LENGTH
        or not (url.isascii() and url.isprintable() and " " not in url)
        or parts.username is not None
        or parts.fragment
        or parts.path in ("", "/")
        or {".", ".."}.intersection(segments)
    ):
        raise _refused("must have an https URL that has a path but no credentials, fragment or dot segments")
    return parts


def _is_public(address: str) -> bool:
    parsed = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed not in _GLOBAL_UNICAST or parsed.sixtofour or parsed.teredo:  # these contain an IPv4 address
            return False
    elif parsed in _SPECIAL:
        return False
    return parsed.is_global and not parsed.is_multicast


class _Connection(http.client.HTTPSConnection):
    """Connects to an address that has already been resolved, and checks the host's certificate."""

    def __init__(self, host: str, port: int, address: str) -> None:
        self.address, self.tls, self.is_shut = address, tls(), False
        super().__init__(host, port, timeout=TIMEOUT_S, context=self.tls)

    def connect(self) -> None:
        plain = socket.create_connection((self.address, self.port), self.timeout)
        self.sock = self.opened = self.tls.wrap_socket(plain, server_hostname=self.host, do_handshake_on_connect=False)
        if self.is_shut:  # connecting used up all of the time
            raise TimeoutError
        self.opened.do_handshake()

    def shut(self) -> None:
        """End the connection from another thread, even during the handshake."""
        self.is_shut = True
        with contextlib.suppress(OSError, AttributeError):  # it may be closed, or not connected yet
            self.opened.shutdown(socket.SHUT_RDWR)


def tls() -> ssl.SSLContext:
    return ssl.create_default_context()


def _get(parts: SplitResult, address: str) -> bytes:
    """Return the body, but at most one byte more than is allowed.

    Redirects are rejected, because they could lead to an address that was not checked.

    A server that sends one byte at a time never triggers the socket's timeout, so a timer closes the connection.
    """
    connection = _Connection(str(parts.hostname), parts.port or 443, address)
    timer = threading.Timer(TIMEOUT_S, connection.shut)
    timer.daemon = True
    timer.start()
    try:
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        connection.request("GET", path, headers={"Accept": "application/json", "Accept-Encoding": "identity"})
        with connection.getresponse() as response:
            if response.status != 200:
                raise _refused(f"could not be fetched: its URL returned status {response.status}")
            return response.read(MAX_BYTES + 1)
    finally:
        timer.cancel()
        connection.close()


def _refused(problem: str) -> OAuthError:
    return OAuthError("invalid_client", f"the client metadata document {problem}")
