"""Use the embedded server for two hours and monitor its memory: `make soak`.

    python -m benchmarks.soak [--minutes 120] [--clients 4] [--rate 40] [--database postgres://…]

Clients store, replace, read, search, link and delete memories, and append to, query and purge conversations. They reuse
a fixed set of addresses and words, so only the audit log and the history grow, and only a leak makes the server grow.
Pages of the database file, which the system drops when it needs memory, do not count. The first half of the time is a
warm-up and is not measured: each connection to SQLite keeps its last 64 statements and up to 4 MiB of pages, and other
caches hold thousands of entries. In a two-hour test, the last increase came in the 69th minute, so a shorter test
may report growth that would have stopped. Growth is the slope of a straight line through the second half.

The exit status is 0 if no request failed, the server's memory grew by at most 0.5% per hour after the warm-up, and
the index matches the database at the end.
"""

from __future__ import annotations

import argparse
import http.client
import pathlib
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from benchmarks.embedded import texts
from testing.server import ROOT, Server

MAX_GROWTH = 0.005  # fraction of the memory per hour
API = "/api/v1"
ADDRESSES = 500  # for each client
VOCABULARY = 2_000  # words, for each client
SAMPLE_S = 10.0
THREADS = 8  # of the server


class User(threading.Thread):
    """A client that has its own addresses and sends random requests until it is stopped."""

    def __init__(self, number: int, server: Server, rate: float, stopped: threading.Event) -> None:
        super().__init__(name=f"soak-{number}", daemon=True)
        self.number, self.rate, self.stopped = number, rate, stopped
        self.client = server.client(timeout_s=30)
        self.chance = random.Random(number)
        self.texts: Iterator[str] = texts(number, VOCABULARY)
        self.conversation = ""
        self.messages = 0
        self.done: Counter[str] = Counter()
        self.failed: list[str] = []
        self.searches = (self.search, self.list_memories, self.append, self.context)
        self.actions: list[tuple[int, Callable[[], int]]] = [
            (30, self.store), (25, self.fetch), (20, self.search), (5, self.delete), (5, self.list_memories),
            (4, self.link), (3, self.neighbours), (5, self.append), (3, self.context),
        ]  # fmt: skip

    def run(self) -> None:
        weights = [weight for weight, _ in self.actions]
        while not self.stopped.is_set():
            began = time.monotonic()
            _, action = self.chance.choices(self.actions, weights)[0]
            try:
                status = action()
            except (OSError, http.client.HTTPException) as error:
                status = 0
                self.failed.append(f"{action.__name__}: {type(error).__name__}")
                self.client.connection.close()  # it cannot be used after a timeout
            if status >= 400 and (status != 404 or action in self.searches):  # an address may be empty
                self.failed.append(f"{action.__name__}: {status}")
            self.done[action.__name__] += 1
            self.stopped.wait(max(0.0, began + 1 / self.rate - time.monotonic()))

    def store(self) -> int:
        body = {
            "coord": self._address(),
            "payload": {"text": next(self.texts)},
            "importance": self.chance.randrange(10),
        }
        return self._call("POST", "/memories", body)

    def fetch(self) -> int:
        return self._call("GET", f"/memories/{self._path()}")

    def search(self) -> int:
        query = " ".join(next(self.texts).split()[:5])
        return self._call("POST", "/memories/search", {"query": query, "top_k": 10})

    def delete(self) -> int:
        purge = "?purge=true" if self.chance.random() < 0.5 else ""
        return self._call("DELETE", f"/memories/{self._path()}{purge}")

    def list_memories(self) -> int:
        return self._call("GET", f"/memories?prefix={self.number}&limit=50")

    def link(self) -> int:
        body = {"from_coord": self._address(), "to_coord": self._address(), "link_type": "near", "strength": 0.5}
        return self._call("POST", "/graph/links", body)

    def neighbours(self) -> int:
        return self._call("GET", f"/graph/neighbors?coord={self._path()}&k_hop=2")

    def append(self) -> int:
        """Append to the conversation. When it is long, purge it and begin another one."""
        if self.messages >= 100:
            self.messages = 0
            return self._call("DELETE", f"/conversations/{self.conversation}?purge=true")
        message = {"role": "user", "content": next(self.texts)}
        self.messages += 1
        if self.messages > 1:
            return self._call("POST", f"/conversations/{self.conversation}/messages", {"messages": [message]})
        body = {"label": f"soak {self.number}", "folder": "/", "messages": [message]}
        status, answer = self.client.call("POST", f"{API}/conversations", body)
        self.conversation = answer.get("id", "")
        return status

    def context(self) -> int:
        query = " ".join(next(self.texts).split()[:5])
        return self._call("POST", "/context/assemble", {"query": query, "context_budget": 500})

    def _call(self, method: str, path: str, body: Any = None) -> int:
        return self.client.call(method, API + path, body)[0]

    def _address(self) -> list[int]:
        return [self.number, self.chance.randrange(ADDRESSES)]

    def _path(self) -> str:
        return ",".join(map(str, self._address()))


def hourly_growth(samples: list[tuple[float, float]]) -> float:
    """Return the growth per hour as a fraction of the mean, from a straight line through (seconds, MiB)."""
    slope = statistics.linear_regression(*zip(*samples, strict=True)).slope
    return slope * 3600 / statistics.fmean(mb for _, mb in samples)


def use_all_threads(server: Server) -> None:
    """Send more simultaneous requests than the server has threads.

    The server starts a thread when all others are busy, and a new thread takes up 1.5 MiB, mostly for its connection.
    """

    def send(number: int) -> None:
        user = User(-number, server, 1, threading.Event())
        for _ in range(20):
            user.search()

    with ThreadPoolExecutor(2 * THREADS) as pool:
        list(pool.map(send, range(1, 2 * THREADS + 1)))


def watch(server: Server, users: list[User], duration_s: float) -> list[tuple[float, float]]:
    """Sample the memory every few seconds, and return the samples after the warm-up."""
    began, samples = time.monotonic(), list[tuple[float, float]]()
    warm_up_s = duration_s / 2
    while (elapsed := time.monotonic() - began) < duration_s:
        time.sleep(min(SAMPLE_S, duration_s - elapsed))
        mb = server.own_mb()
        if time.monotonic() - began > warm_up_s:
            samples.append((time.monotonic() - began, mb))
        requests, failed = sum(sum(user.done.values()) for user in users), sum(len(user.failed) for user in users)
        print(f"{elapsed / 60:6.1f} min  {mb:7.1f} MiB  {requests:,} requests, {failed} failed", flush=True)
    return samples


def run(server: Server, duration_s: float, clients: int, rate: float) -> tuple[list[tuple[float, float]], list[User]]:
    """Run the clients. Return the memory samples, and the clients with their recorded requests."""
    use_all_threads(server)
    stopped = threading.Event()
    users = [User(number, server, rate / clients, stopped) for number in range(1, clients + 1)]
    for user in users:
        user.start()
    try:
        samples = watch(server, users, duration_s)
    finally:
        stopped.set()
        for user in users:
            user.join(60)
    return samples, users


def index_matches(server: Server) -> bool:
    """Stop the server and compare the index with the database."""
    server.client().wait_until_indexed()
    server.stop()
    command = [sys.executable, str(ROOT / "manage.py"), "reconcile"]
    ended = subprocess.run(command, env=server.environment, capture_output=True, text=True, timeout=600, check=False)
    print(ended.stdout.strip() or ended.stderr.strip())
    return ended.returncode == 0


def report(users: list[User], growth: float, equal: bool) -> int:
    done: Counter[str] = sum((user.done for user in users), Counter())
    failed = Counter(line for user in users for line in user.failed)
    print(f"requests: {sum(done.values()):,} ({', '.join(f'{name} {count:,}' for name, count in done.most_common())})")
    print(f"failed: {sum(failed.values())} {dict(failed) if failed else ''}")
    print(f"memory growth after the warm-up: {growth:+.2%} per hour (at most {MAX_GROWTH:.1%})")
    print(f"index equal to the database: {'yes' if equal else 'NO'}")
    return 0 if not failed and growth <= MAX_GROWTH and equal else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=120)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--rate", type=float, default=40, help="total requests per second of all clients")
    parser.add_argument("--database", default="", help="URL of an empty PostgreSQL database; SQLite by default")
    options = parser.parse_args()
    settings = {"SOMA_DATABASE_URL": options.database, "SOMA_LOG_LEVEL": "WARNING", "SOMA_THREADS": str(THREADS)}
    with tempfile.TemporaryDirectory() as folder:
        server = Server(pathlib.Path(folder), **settings)
        with server:
            samples, users = run(server, options.minutes * 60, options.clients, options.rate)
            equal = index_matches(server)
    return report(users, hourly_growth(samples), equal)


if __name__ == "__main__":
    sys.exit(main())
