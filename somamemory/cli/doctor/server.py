"""Check a server over HTTP."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from somamemory import __version__
from somamemory.cli.connection import Target
from somamemory.cli.doctor.finding import Finding, error, ok, warning

if TYPE_CHECKING:
    from somamemory_client import Client

LOCAL = ("127.0.0.1", "localhost", "::1")
CLOCK_TOLERANCE_S = 30


def findings(target: Target) -> Iterator[Finding]:
    from somamemory_client import SomaError

    try:
        client = target.connect().with_options(max_retries=0, timeout=10)
        send = client.raw
        health = send("health.get")
    except SomaError as problem:
        yield error("connection", str(problem), "check the URL, the server, and any proxies in between")
        return
    yield ok("connection", str(target.url))
    yield encryption(str(target.url))
    yield clock(health.headers, time.time())
    report = health.json()
    yield version(str(report.get("version", "")))
    yield from dependencies(report)
    yield from _key(client, has_key=target.api_key is not None)


def encryption(url: str) -> Finding:
    parts = urlsplit(url)
    if parts.scheme == "http" and parts.hostname not in LOCAL:
        return warning("encryption", "API keys are sent unencrypted", "put a TLS reverse proxy in front (see deploy/)")
    return ok("encryption", "TLS" if parts.scheme == "https" else "not needed on this machine")


def clock(headers: Mapping[str, str], now: float) -> Finding:
    """Compare the server's clock with this machine's clock."""
    if "date" not in headers:
        return warning("clock", "the response has no Date header", "configure the proxy to pass on the Date header")
    difference_s = parsedate_to_datetime(headers["date"]).timestamp() - now
    if abs(difference_s) > CLOCK_TOLERANCE_S:
        return error(
            "clock", f"the server's clock differs by {difference_s:+.0f} s", "set both clocks: timedatectl set-ntp true"
        )
    return ok("clock", "the same as on this machine")


def version(served: str) -> Finding:
    if served.split(".")[0] != __version__.split(".")[0]:
        return error(
            "version", f"the server's version is {served or 'unknown'}, but this program's is {__version__}",
            f"install the server's version: pip install 'somamemory=={served}'",
        )  # fmt: skip
    return ok("version", served)


def dependencies(report: Mapping[str, object]) -> Iterator[Finding]:
    """Return the state that the server reports for each dependency."""
    checks = report.get("checks")
    for name, state in (checks if isinstance(checks, dict) else {}).items():
        state = state.get("status", state.get("healthy")) if isinstance(state, dict) else state
        if state in (True, "ok", "healthy", "up"):
            yield ok(str(name), "responds")
        else:
            yield error(str(name), f"is not available to the server ({state})", "run 'somamemory doctor' on the server")


def _key(client: Client, has_key: bool) -> Iterator[Finding]:
    from somamemory_client import ApiError, SomaError

    try:
        client.memories.stats()
    except ApiError as problem:
        hint = "set SOMA_API_KEY" if not has_key else "create a key: somamemory keys create"
        remedy = f"{hint}; if there is a proxy in between, configure it to pass on the Authorization header"
        yield error("key", problem.detail or problem.title, remedy)
    except SomaError as problem:
        yield error("key", str(problem), "run the command again")
    else:
        yield ok("key", "accepted")
