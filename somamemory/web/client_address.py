"""The address of the client behind trusted proxies."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from functools import lru_cache

from somamemory.errors import ConfigurationError

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
MAX_HOPS = 32


def networks(names: Sequence[str]) -> tuple[Network, ...]:
    """Parse networks such as `10.0.0.0/8`, or single addresses. Raises ConfigurationError if one is invalid."""
    try:
        return tuple(ipaddress.ip_network(name.strip()) for name in names)
    except ValueError as error:
        raise ConfigurationError(f"invalid network: {error}") from None


def among(address: str, allowed: Sequence[Network]) -> bool:
    parsed = _parsed(address)
    return parsed is not None and any(parsed in network for network in allowed)


def default_hosts(listens_on: str) -> list[str]:
    """Return the host names that are allowed by default in addition to the local ones.

    All names are allowed unless `listens_on`, the server's own address, is on the loopback interface.
    """
    parsed = _parsed(listens_on)
    if listens_on == "localhost" or (parsed and parsed.is_loopback):
        return [f"[{listens_on}]" if ":" in listens_on else listens_on]
    return ["*"]


def client(peer: str, forwarded_for: str, trusted: Sequence[Network]) -> str:
    """Return the nearest address that is not a trusted proxy.

    peer: the address at the other end of the connection.
    forwarded_for: the X-Forwarded-For header, to which each proxy appends an address. Entries before the client's own
    can be forged.
    """
    address = str(_parsed(peer) or peer)  # a socket for IPv6 also accepts IPv4, and shows it as ::ffff:192.0.2.1
    if not forwarded_for or not among(peer, trusted):
        return address
    for hop in reversed(forwarded_for.split(",")[-MAX_HOPS:]):
        parsed = _parsed(hop.strip())
        if parsed is None:
            return address
        address = str(parsed)
        if not among(address, trusted):
            break
    return address


@lru_cache(maxsize=10_000)
def _parsed(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped or address
