"""Measure the cost of individual requests: `make bench-requests`, or `python -m benchmarks.requests`.

The benchmark starts a server (embedded or, with --database and --redis, on a new database), fills it with memories, and
sends requests of each kind (or of those in --kinds) in rounds: first from one client, then from eight with keep-alive
connections. It prints the median response time, the CPU time that all server processes use per request (until the index
is up to date again), and the rate. The CPU time hardly depends on the machine's load; the other results do. `--save
FILE` saves the results, and `--compare FILE` compares the results with saved ones. On a busy machine, `--against
CHECKOUT` gives more accurate results: it also runs the server from another checkout, and measures both servers in turn.
The CPU time includes PostgreSQL and Redis only if they run on this machine.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import pathlib
import random
import re
import socket
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import psycopg
import redis

from benchmarks import baseline, cpu
from benchmarks.embedded import BULK, progress, texts
from benchmarks.moving import empty_database
from testing.server import ROOT, Client, Server

KINDS = ("fetch", "store", "patch", "list", "search")
USERS = 1_000
OF_A_USER = "search-user"  # a search filtered by user; runs only if --kinds names it
ROW = 100  # memories with the same first number
PER_PAGE = 50
CLIENTS = 8
WARM_UP = 50
_LAST_CHUNK = b"\r\n0\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Wire:
    """A keep-alive connection with little overhead for the client: it sends bytes and does not parse responses."""

    def __init__(self, server: Server) -> None:
        self.socket = socket.create_connection(("127.0.0.1", server.port), timeout=60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, request: bytes) -> None:
        """Send a request and receive its response. Raises RuntimeError for an error response."""
        self.socket.sendall(request)
        received = b""
        while (end := received.find(b"\r\n\r\n")) < 0:
            received += self._more()
        length = _LENGTH.search(received[: end + 2])
        while len(received) < end + 4 + int(length[1]) if length else not received.endswith(_LAST_CHUNK):
            received += self._more()
        if not received.startswith(b"HTTP/1.1 2"):
            raise RuntimeError(received.decode(errors="replace")[:2000])

    def send_all(self, requests: list[bytes]) -> None:
        for request in requests:
            self.send(request)

    def _more(self) -> bytes:
        data = self.socket.recv(262_144)
        if not data:
            raise RuntimeError("the server closed the connection")
        return data


@dataclass
class Requests:
    """Generates random requests of each kind from a seed."""

    key: str
    memories: int
    source: Iterator[str] = field(default_factory=lambda: texts(seed=2))
    chance: random.Random = field(default_factory=lambda: random.Random(3))
    stored: int = 0

    def make(self, kind: str, count: int) -> list[bytes]:
        makers: dict[str, Callable[[], bytes]] = {
            "fetch": lambda: self._encoded("GET", f"/memories/{self._coord()}"),
            "store": self._store,
            "patch": lambda: self._encoded(
                "PATCH", f"/memories/{self._coord()}", {"payload": {"text": next(self.source)}}
            ),
            "list": lambda: self._encoded(
                "GET", f"/memories?prefix={self.chance.randrange(max(1, self.memories // ROW))}&limit={PER_PAGE}"
            ),
            "search": lambda: self._encoded("POST", "/memories/search", {"query": self._words(), "top_k": 10}),
            OF_A_USER: lambda: self._encoded(
                "POST",
                "/memories/search",
                {"query": self._words(), "top_k": 10, "user_id": f"user-{self.chance.randrange(USERS)}"},
            ),
        }
        return [makers[kind]() for _ in range(count)]

    def _words(self) -> str:
        return " ".join(next(self.source).split()[:6])

    def _store(self) -> bytes:
        self.stored += 1
        return self._encoded("POST", "/memories", {"coord": [-1, self.stored], "payload": {"text": next(self.source)}})

    def _coord(self) -> str:
        number = self.chance.randrange(self.memories)
        return f"{number // ROW},{number % ROW}"

    def _encoded(self, method: str, path: str, body: Any = None) -> bytes:
        content = b"" if body is None else json.dumps(body).encode()
        head = f"{method} /api/v1{path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {self.key}\r\n"
        if content:
            head += f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n"
        return head.encode() + b"\r\n" + content


@dataclass
class Series:
    """The measurements of one kind of request, over all rounds."""

    latencies_ms: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    busy_cpu_ms: list[float] = field(default_factory=list)

    def figures(self, kind: str) -> baseline.Figures:
        return {
            f"{kind}: p50, ms": statistics.median(self.latencies_ms),
            f"{kind}: server CPU, ms": statistics.median(self.cpu_ms),
            f"{kind}: {CLIENTS} clients, requests/s": statistics.median(self.rates),
            f"{kind}: {CLIENTS} clients, server CPU, ms": statistics.median(self.busy_cpu_ms),
        }


@dataclass
class Bench:
    server: Server
    requests: Requests
    processes: set[int]  # of the server and its databases; their descendants count as well
    with_users: bool = False

    def fill(self) -> None:
        client = self.server.client(timeout_s=300)
        for first in range(0, self.requests.memories, BULK):
            numbers = range(first, min(first + BULK, self.requests.memories))
            items = [
                {
                    "coord": [n // ROW, n % ROW],
                    "payload": {"text": next(self.requests.source)},
                    "importance": n % 11,
                    **({"user_id": f"user-{n % USERS}"} if self.with_users else {}),
                }
                for n in numbers
            ]
            client.post("/memories/bulk", {"items": items})
            progress("filling", (first + len(items)) / self.requests.memories)
        client.wait_until_indexed(1800)
        client.connection.close()

    def round(self, kind: str, count: int, series: Series) -> None:
        """Send the requests of one round from one client and then from several, and add the results to the series."""
        wire = Wire(self.server)
        with self._cpu_ms(kind, count, series.cpu_ms), contextlib.closing(wire.socket):
            for request in self.requests.make(kind, count):
                began = time.perf_counter()
                wire.send(request)
                series.latencies_ms.append((time.perf_counter() - began) * 1000)
        with self._cpu_ms(kind, count, series.busy_cpu_ms):
            series.rates.append(self._together(self.requests.make(kind, count)))

    def idle_cpu_ms(self, seconds: float = 2.0) -> float:
        before = cpu.used_s(self.processes)
        time.sleep(seconds)
        return (cpu.used_s(self.processes) - before) * 1000 / seconds

    @contextlib.contextmanager
    def _cpu_ms(self, kind: str, count: int, results: list[float]) -> Iterator[None]:
        before = cpu.used_s(self.processes)
        yield
        if kind in ("store", "patch"):
            self._settle()
        results.append((cpu.used_s(self.processes) - before) * 1000 / count)

    def _settle(self) -> None:
        client: Client = self.server.client()
        client.wait_until_indexed()
        client.connection.close()

    def _together(self, requests: list[bytes]) -> float:
        """Send the requests from CLIENTS connections at the same time, and return the rate."""
        wires = [Wire(self.server) for _ in range(CLIENTS)]
        with ThreadPoolExecutor(CLIENTS) as pool:
            began = time.perf_counter()
            list(pool.map(lambda n: wires[n].send_all(requests[n::CLIENTS]), range(CLIENTS)))
            took_s = time.perf_counter() - began
        for wire in wires:
            wire.socket.close()
        return len(requests) / took_s


@contextlib.contextmanager
def bench(options: argparse.Namespace, root: pathlib.Path) -> Iterator[Bench]:
    # With limits, as in production, but high enough that no request is rejected
    settings = {"SOMA_KEY_RATE": "1000000", "SOMA_KEY_BURST": "1000000", "SOMA_TENANT_RATE": "1000000"}
    settings |= {"SOMA_TENANT_BURST": "1000000", **dict(setting.split("=", 1) for setting in options.settings)}
    processes = set(options.processes)
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="soma-bench-"))
        if options.database:
            settings["SOMA_DATABASE_URL"] = stack.enter_context(empty_database(options.database))
            processes.add(_postmaster(options.database))
        if options.redis:
            settings["SOMA_REDIS_URL"] = options.redis
            processes.add(int(redis.Redis.from_url(options.redis).info("server")["process_id"]))
        server = Server(pathlib.Path(folder), **settings)
        server.root = root
        stack.enter_context(server)
        assert server.process is not None
        every = processes | {server.process.pid}
        yield Bench(server, Requests(server.key, options.memories), every, OF_A_USER in options.kinds)


def _postmaster(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT pg_backend_pid()").fetchone()
        assert row is not None
        return cpu.parent_of(row[0])


def run(benches: list[Bench], options: argparse.Namespace) -> list[baseline.Figures]:
    """Measure the servers in turn, and return the results of each."""
    results: list[baseline.Figures] = [{"empty server, memory MiB": bench.server.rss_mb()} for bench in benches]
    series = [{kind: Series() for kind in options.kinds} for _ in benches]
    loops = []
    for bench in benches:
        bench.fill()
        for kind in options.kinds:
            bench.round(kind, WARM_UP, Series())
    for number in range(options.rounds):
        for kind in options.kinds:
            for bench, one in zip(benches, series, strict=True):
                bench.round(kind, options.requests, one[kind])
        loops.append(cpu.fixed_loop_ms())
        progress("measuring", (number + 1) / options.rounds)
    for bench, one, figures in zip(benches, series, results, strict=True):
        for kind in options.kinds:
            figures |= one[kind].figures(kind)
        figures["idle server, CPU ms/s"] = bench.idle_cpu_ms()
        figures["server, memory MiB"] = bench.server.rss_mb()
        figures["this machine, a fixed loop, CPU ms"] = statistics.median(loops)
    return results


def table(figures: baseline.Figures, kinds: list[str]) -> str:
    columns = ("p50, ms", "server CPU, ms", f"{CLIENTS} clients, requests/s", f"{CLIENTS} clients, server CPU, ms")
    lines = ["".join([f"{'':12}", *(f"{column:>28}" for column in columns)])]
    for kind in kinds:
        lines.append("".join([f"{kind:12}", *(f"{figures[f'{kind}: {column}']:>28,.2f}" for column in columns)]))
    others = [name for name in figures if name.split(":")[0] not in kinds]
    return "\n".join([*lines, "", *(f"{name}: {figures[name]:,.1f}" for name in others)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--memories", type=int, default=1_000)
    parser.add_argument("--requests", type=int, default=300, help="requests of each kind in a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kinds", nargs="+", choices=[*KINDS, OF_A_USER], default=KINDS)
    parser.add_argument(
        "--database", default="", help="postgres://… URL of a server on which a database can be created"
    )
    parser.add_argument("--redis", default="", help="redis://… URL")
    parser.add_argument("--settings", nargs="+", default=[], metavar="SOMA_NAME=VALUE", help="more settings")
    parser.add_argument("--processes", type=int, nargs="+", default=[], help="ids of additional processes to measure")
    parser.add_argument("--against", type=pathlib.Path, metavar="CHECKOUT", help="measure this checkout as well")
    baseline.add_options(parser)
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        roots = [ROOT, *([options.against.resolve()] if options.against else [])]
        results = run([stack.enter_context(bench(options, root)) for root in roots], options)
    print(table(results[0], options.kinds))
    if options.against:
        print(f"\nThe baseline is {options.against}:\n{baseline.comparison(*results)}")
    baseline.finish(results[0], options)


if __name__ == "__main__":
    main()
