"""The server's address, for the server itself and for other programs on the machine."""

from __future__ import annotations

_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not bound


def reachable(host: str) -> str:
    """Return the address at which this machine reaches a server that listens on `host`."""
    return _EVERYWHERE.get(host, host)


def authority(host: str, port: int) -> str:
    """Return host and port as they appear in a URL, with an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def local_url(host: str, port: int) -> str:
    """Return the URL at which this machine reaches a server that listens on `host` and `port`."""
    return f"http://{authority(reachable(host), port)}"
