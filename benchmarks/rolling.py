"""Restart two web servers behind nginx in turn, while clients read, search and write, and count failed requests.

    python -m benchmarks.rolling --database postgres://… [--restarts 20] [--rate 50]

Each server is stopped with SIGTERM and started again as systemd would do it: its listening socket stays open, so new
connections wait. nginx uses the configuration in deploy/nginx. The benchmark needs the URL of a PostgreSQL server, on
which it creates a database that it drops afterwards. The exit status is 0 if every request succeeded.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pathlib
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException

from testing import proxies
from testing.installation import with_socket
from testing.processes import KEY, Installation, Process, installation, wait_for

CLIENTS = 10


@dataclass
class Backend:
    """A web server whose socket stays open between runs."""

    process: Process
    listening: socket.socket

    @property
    def port(self) -> int:
        port: int = self.listening.getsockname()[1]
        return port

    def start(self) -> None:
        self.process.start()
        wait_for(self._is_ready, 60)

    def restart(self) -> float:
        """Restart the server, and return how many seconds that took."""
        began = time.monotonic()
        code = self.process.stop()
        assert code == 0, f"the server exited with {code}: {self.process.log[-2000:]}"
        self.start()
        return time.monotonic() - began

    def _is_ready(self) -> bool:
        with contextlib.closing(HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200


@dataclass
class Load:
    """A constant rate of requests: a read, a search and a write in turn."""

    proxy: proxies.Proxy
    rate: float
    took_s: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    _next: int = 0
    _stopped: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        began = time.monotonic()
        threads = [threading.Thread(target=self._client, args=(began,), daemon=True) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stopped = True
            for thread in threads:
                thread.join(90)

    def _client(self, began: float) -> None:
        with contextlib.closing(self.proxy.connection()) as connection:
            while not self._stopped:
                with self._lock:
                    number, self._next = self._next, self._next + 1
                due = began + number / self.rate
                time.sleep(max(0.0, due - time.monotonic()))
                self._ask(connection, number)
                with self._lock:  # measured from the scheduled time, to include the time that requests wait in a queue
                    self.took_s.append(time.monotonic() - due)

    def _ask(self, connection: HTTPConnection, number: int) -> None:
        method, path, body, good = self._request(number)
        headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            answer = response.read()
        except (OSError, HTTPException) as error:
            connection.close()
            self.failures.append(f"{method} {path}: {error!r}")
            return
        if response.status not in good:
            self.failures.append(f"{method} {path}: {response.status} {answer[:200]!r}")

    def _request(self, number: int) -> tuple[str, str, bytes | None, tuple[int, ...]]:
        if number % 3 == 0:
            return "GET", "/memories/1", None, (200,)
        if number % 3 == 1:
            return "POST", "/memories/search", json.dumps({"query": "a restart"}).encode(), (200,)
        memory = {"coord": f"2,{number % 500}", "payload": {"text": f"written during a restart, {number}"}}
        return "POST", "/memories", json.dumps(memory).encode(), (200, 201)


def backend(place: Installation, name: str) -> Backend:
    listening = socket.create_server(("127.0.0.1", 0), backlog=2048)
    command = with_socket(listening, place.command("web"))
    environment = place.environment("web") | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    process = Process(command, environment, place.folder / f"{name}.log", descriptors=(listening.fileno(),))
    return Backend(process, listening)


@contextlib.contextmanager
def prepared(folder: pathlib.Path, database_url: str, rate: float) -> Iterator[tuple[list[Backend], Load]]:
    """Start two servers and nginx, and create a load that is not running yet."""
    with contextlib.ExitStack() as stack:
        place = stack.enter_context(
            installation(
                folder,
                database_url=database_url,
                SOMA_LOG_LEVEL="WARNING",
                SOMA_INDEXER="none",
                SOMA_ALLOWED_HOSTS=proxies.NAME,
            )
        )
        backends = [backend(place, f"web{number}") for number in (1, 2)]
        for server in backends:
            stack.callback(server.listening.close)
            stack.callback(server.process.stop)
            server.start()
        place.port = backends[0].port
        place.store("1", "data that a restart must not lose")
        proxy = stack.enter_context(proxies.nginx(folder, [backend.port for backend in backends]))
        yield backends, Load(proxy, rate)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database", default=os.environ.get("SOMA_DATABASE_URL", ""), help="postgres://…")
    parser.add_argument("--restarts", type=int, default=20)
    parser.add_argument("--rate", type=float, default=50, help="requests per second")
    options = parser.parse_args()
    if not options.database.startswith("postgres") or not proxies.NGINX:
        parser.error("requires nginx, and --database postgres://… for a server on which a database can be created")
    with (
        tempfile.TemporaryDirectory() as folder,
        prepared(pathlib.Path(folder), options.database, options.rate) as (backends, load),
        load.running(),
    ):
        restarts = []
        for number in range(options.restarts):
            restarts.append(backends[number % 2].restart())
            print(f"restart {number + 1}: {restarts[-1]:.1f} s, {len(load.took_s)} requests so far", flush=True)
    took = sorted(load.took_s)
    print(f"{len(took)} requests, {len(load.failures)} failed; {len(restarts)} restarts, at most {max(restarts):.1f} s")
    print(
        f"p50 {took[len(took) // 2] * 1000:.0f} ms, p99 {took[len(took) * 99 // 100] * 1000:.0f} ms, "
        f"longest {took[-1]:.1f} s"
    )
    print(*load.failures[:20], sep="\n")
    return 1 if load.failures else 0


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "somamemory.settings")
    sys.exit(main())
