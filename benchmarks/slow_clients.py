"""Run slow clients against a real server: `python -m benchmarks.slow_clients [--sockets 200] [--seconds 60]`.

The benchmark measures how fast ordinary clients fetch memories, with and without an attack by slow sockets of five
kinds: a request head that never ends, a body that never ends, a body that is never sent after a 401 response, a
response that is not read, and idle connections. It prints p50 and p99, and exits with status 1 if the p99 under attack
is 250 ms or more, or if a request failed. The benchmark takes twice the given number of seconds.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import multiprocessing
import pathlib
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from testing.server import Client, Server

LIMIT_MS = 250.0
CLIENTS = 4  # every other one opens a new connection per request
REQUESTS_PER_S = 20.0  # of each client
PACE_S = 1.0  # of a slow socket
LARGE_MEMORIES, LARGE_TEXT = 12, "a long text " * 8_000


@dataclass
class Slow:
    """A slow socket.

    It sends `first` immediately, then a byte of `rest` at each step, and reads only if `reads` is set.
    """

    first: bytes
    rest: bytes = b""
    reads: bool = False
    connection: socket.socket | None = None
    sent: int = 0

    def step(self, port: int) -> None:
        """Send or read the next byte. Reconnect if the server has closed the connection."""
        try:
            if self.connection is None:
                self._connect(port)
            elif self.rest:
                self.connection.send(self.rest[self.sent % len(self.rest) :][:1])
                self.sent += 1
            elif self.reads and not self.connection.recv(65_536):
                self.close()
        except BlockingIOError:
            pass
        except OSError:
            self.close()

    def close(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def _connect(self, port: int) -> None:
        self.connection = socket.socket()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.connection.settimeout(5)
        self.connection.connect(("127.0.0.1", port))
        self.connection.sendall(self.first)
        self.connection.setblocking(False)


def slow_sockets(key: str, count: int) -> list[Slow]:
    """Return `count` slow sockets, in equal numbers of each kind."""
    head = f"Host: localhost\r\nAuthorization: Bearer {key}\r\n".encode()
    body = b"Content-Type: application/json\r\nContent-Length: 100000\r\n\r\n"
    kinds: list[Callable[[], Slow]] = [
        lambda: Slow(b"GET /memories/1 HTTP/1.1\r\nX-Slow: ", rest=b"a"),
        lambda: Slow(b"POST /memories HTTP/1.1\r\n" + head + body, rest=b" "),
        lambda: Slow(
            b"POST /memories HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer none\r\n" + body, reads=True
        ),
        lambda: Slow(b"GET /memories?prefix=9 HTTP/1.1\r\n" + head + b"\r\n"),
        lambda: Slow(b"GET /memories/1 HTTP/1.1\r\n" + head + b"\r\n", reads=True),
    ]
    return [kinds[number % len(kinds)]() for number in range(count)]


def store_memories(client: Client) -> None:
    """Store the memories that the clients request."""
    client.post("/memories", {"coord": "1", "payload": {"text": "fetched by everyone"}})
    for number in range(LARGE_MEMORIES):
        client.post("/memories", {"coord": f"9,{number}", "payload": {"text": LARGE_TEXT}})


def attack(port: int, key: str, count: int, seconds: float) -> None:
    sockets = slow_sockets(key, count)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        began = time.monotonic()
        for connection in sockets:
            connection.step(port)
        time.sleep(max(0.0, PACE_S - (time.monotonic() - began)))
    for connection in sockets:
        connection.close()


@dataclass
class Measured:
    fetches_ms: list[float] = field(default_factory=list)
    probes_ms: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def line(self, name: str) -> str:
        fetches, probes = percentiles(self.fetches_ms), percentiles(self.probes_ms)
        return (
            f"{name:<15} {len(self.fetches_ms):>5} fetches  p50 {fetches[0]:6.1f} ms  p99 {fetches[1]:6.1f} ms"
            f"   {len(self.probes_ms):>4} probes  p50 {probes[0]:6.1f} ms  p99 {probes[1]:6.1f} ms"
            f"   {len(self.failures)} failures"
        )


def percentiles(values: list[float]) -> tuple[float, float]:
    cuts = statistics.quantiles(values, n=100)
    return cuts[49], cuts[98]


def measure(server: Server, seconds: float) -> Measured:
    measured, end = Measured(), time.monotonic() + seconds
    threads = [
        threading.Thread(target=_fetch, args=(server, measured, end, number % 2 == 0)) for number in range(CLIENTS)
    ]
    threads.append(threading.Thread(target=_probe, args=(server, measured, end)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return measured


def _fetch(server: Server, measured: Measured, end: float, keeps_connection: bool) -> None:
    client = server.client()
    for _ in _paced(end, 1 / REQUESTS_PER_S):
        if not keeps_connection:
            client.connection.close()
        _timed(client, "/memories/1", measured.fetches_ms, measured.failures)


def _probe(server: Server, measured: Measured, end: float) -> None:
    client = server.client()
    for number in _paced(end, 0.2):
        client.connection.close()
        path = ("/ping", "/healthz", "/readyz")[number % 3]
        _timed(client, path, measured.probes_ms, measured.failures)


def _paced(end: float, pause_s: float) -> Iterator[int]:
    number, due = 0, time.monotonic()
    while due < end:
        time.sleep(max(0.0, due - time.monotonic()))
        yield number
        number, due = number + 1, max(due + pause_s, time.monotonic())


def _timed(client: Client, path: str, durations_ms: list[float], failures: list[str]) -> None:
    began = time.perf_counter()
    try:
        status, _ = client.call("GET", path)
    except (OSError, http.client.HTTPException) as error:
        client.connection.close()
        failures.append(f"{path}: {error!r}")
        return
    durations_ms.append((time.perf_counter() - began) * 1000)
    if status != 200:
        failures.append(f"{path}: {status}")


@contextlib.contextmanager
def under_attack(server: Server, sockets: int, seconds: float) -> Iterator[None]:
    process = multiprocessing.get_context("spawn").Process(
        target=attack, args=(server.port, server.key, sockets, seconds), daemon=True
    )
    process.start()
    time.sleep(min(5.0, seconds / 4))  # until all of them are connected
    try:
        yield
    finally:
        process.terminate()
        process.join()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sockets", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=60)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, Server(pathlib.Path(folder), SOMA_LOG_LEVEL="WARNING") as server:
        store_memories(server.client())
        measure(server, 5)  # warm up
        quiet = measure(server, options.seconds)
        before_mb = server.rss_mb()
        with under_attack(server, options.sockets, options.seconds + 15):
            attacked = measure(server, options.seconds)
            memory_mb = server.rss_mb() - before_mb
    print(quiet.line("without attack"))
    print(attacked.line("with attack"))
    print(f"{options.sockets} slow sockets; the server's memory grew by {memory_mb:.0f} MiB")
    for failure in (quiet.failures + attacked.failures)[:10]:
        print(failure)
    failed = quiet.failures or attacked.failures or percentiles(attacked.fetches_ms)[1] >= LIMIT_MS
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
