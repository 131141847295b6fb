"""Check on a real server that concurrent writes to one coordinate are linearizable.

python -m benchmarks.linearizability [--histories 1000] [--operations 300] [--database postgres://…]

Histories are recorded in batches. In every tenth batch, the server is killed with `kill -9` while the clients are
working, and is then restarted. A request without a response may or may not have taken effect. Without --database, the
server uses SQLite; otherwise the database must be empty. The exit status is 1 if a history is not linearizable.
"""

from __future__ import annotations

import argparse
import contextlib
import pathlib
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any

from testing.histories import Recorder, Unanswered, explains
from testing.server import Client, Server

KILL_EVERY = 10  # batches
SETTINGS = {
    "SOMA_LOG_LEVEL": "WARNING",
    "SOMA_EMBEDDING_PROVIDER": "hashing",
    "SOMA_MAX_BACKLOG": "100000000",
    "SOMA_SUMMARY_INTERVAL_S": "0",
    "SOMA_CHORE_INTERVAL_S": "0",
}


@dataclass
class Run:
    """A server, and the outcome of all histories so far."""

    server: Server
    up: threading.Event = field(default_factory=threading.Event)
    outcomes: Counter[str] = field(default_factory=Counter)

    def batch(self, recorders: list[Recorder], clients: int, *, kill: bool) -> None:
        with ThreadPoolExecutor(len(recorders) * clients + 1) as pool:
            work = [pool.submit(self._work, recorder, client) for client in range(clients) for recorder in recorders]
            if kill:
                self._kill_during(recorders)
            for task in work:
                task.result()
        for recorder in recorders:
            self._check(recorder, killed=kill)

    def _work(self, recorder: Recorder, client: int) -> None:
        with contextlib.closing(_Connection(self)) as connection:
            recorder.work(client, connection.send)

    def _kill_during(self, recorders: list[Recorder]) -> None:
        share = random.uniform(0.1, 0.9)
        while sum(recorder.begun for recorder in recorders) < share * sum(
            recorder.operations for recorder in recorders
        ):
            time.sleep(0.005)
        self.up.clear()
        self.server.kill()
        self.server.start()
        self.up.set()

    def _check(self, recorder: Recorder, *, killed: bool) -> None:
        self.outcomes["histories"] += 1
        self.outcomes["histories with kill -9"] += killed
        self.outcomes["operations"] += len(recorder.history)
        self.outcomes["unanswered"] += sum(not operation.is_answered for operation in recorder.history)
        self.outcomes.update(f"status {operation.answer.status}" for operation in recorder.history if operation.answer)
        if not explains(recorder.history):
            self.outcomes["violations"] += 1
            print(
                f"violation at {recorder.coord}",
                *sorted(recorder.history, key=lambda operation: operation.began),
                sep="\n",
            )


class _Connection:
    """A client that reconnects after a kill, and sends nothing while the server is down."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.client: Client | None = None

    def send(self, method: str, path: str, body: Any, headers: dict[str, str]) -> tuple[int, Any]:
        self.run.up.wait()
        self.client = self.client or self.run.server.client()
        try:
            status, answer = self.client.call(method, path, body, headers)
        except (OSError, HTTPException):
            self.close()
            raise Unanswered from None
        if status >= 500:  # such as an interrupted commit
            raise Unanswered
        return status, answer

    def close(self) -> None:
        if self.client is not None:
            self.client.connection.close()
            self.client = None


@contextlib.contextmanager
def running(database: str) -> Iterator[Run]:
    settings = {**SETTINGS, **({"SOMA_DATABASE_URL": database} if database else {})}
    with (
        tempfile.TemporaryDirectory(prefix="soma-linearizability-") as folder,
        Server(pathlib.Path(folder), **settings) as server,
    ):
        run = Run(server)
        run.up.set()
        yield run


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--histories", type=int, default=1_000)
    parser.add_argument("--operations", type=int, default=300, help="operations in each history")
    parser.add_argument("--clients", type=int, default=4, help="concurrent clients in each history")
    parser.add_argument("--width", type=int, default=10, help="histories recorded at the same time")
    parser.add_argument("--database", default="", help="URL of an empty database, postgres://…; without it, SQLite")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    options = parser.parse_args()
    began = time.monotonic()
    print(f"seed {options.seed}", flush=True)
    with running(options.database) as run:
        for number in range(-(-options.histories // options.width)):
            at = range(number * options.width, min(options.histories, (number + 1) * options.width))
            recorders = [Recorder(f"{history},{options.seed}", options.operations, options.seed) for history in at]
            run.batch(recorders, options.clients, kill=number % KILL_EVERY == KILL_EVERY - 1)
            print(f"{time.monotonic() - began:.0f} s: {dict(run.outcomes)}", flush=True)
    return 1 if run.outcomes["violations"] else 0


if __name__ == "__main__":
    sys.exit(main())
