"""Write through a faulty network while the server is killed, and count every write.

    python -m benchmarks.client_faults --operations 10000
    python -m benchmarks.client_faults --operations 10000 --client typescript

Each write stores a new memory or changes an existing one, using the synchronous and the asynchronous Python client in
turn, or the TypeScript client, which `make typescript` builds. A memory's version must be at least the number of
acknowledged writes to it, and at most this number plus the number of writes to it that ended with an error. The exit
status is 1 if a version is wrong, or if a call raises an exception that is not a client error.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random as randomness
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "clients" / "python" / "src"))

from somamemory_client import AsyncClient, Client, SomaError
from somamemory_client._retries import Retries
from testing.faulty_proxy import FAULTS, SLOW, FaultyProxy
from testing.server import Server

CHANGES_PER_MEMORY = 4
# Short delays: with the defaults, most of the time would be spent waiting.
RETRIES = Retries(limit=12, first_s=0.05, longest_s=2.0)
WORKERS = 40
TYPESCRIPT = Path(__file__).resolve().parent.parent / "clients" / "typescript"


@dataclass
class Report:
    certain: int = 0
    uncertain: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    contradictions: list[str] = field(default_factory=list)


class Ledger:
    """The number of acknowledged and of uncertain writes to each memory, as counted by the clients."""

    def __init__(self) -> None:
        self.certain: Counter[str] = Counter()
        self.uncertain: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()

    def write(self, key: str, store: Callable[[], object], change: Callable[[], object]) -> None:
        try:
            if self.certain[key]:
                change()
            else:
                store()
        except SomaError as error:
            self.uncertain[key] += 1
            self.errors[type(error).__name__] += 1
        else:
            self.certain[key] += 1

    def contradictions(self, versions: dict[str, int]) -> list[str]:
        return [
            f"{key}: version {versions.get(key, 0)}, acknowledged {certain}, uncertain {self.uncertain[key]}"
            for key, certain in ((key, self.certain[key]) for key in self.certain | self.uncertain)
            if not certain <= versions.get(key, 0) <= certain + self.uncertain[key]
        ]


def chaos(
    server: Server,
    *,
    operations: int,
    slow_s: float,
    timeout_s: float,
    random: randomness.Random,
    workers: int = 1,
    client: str = "python",
) -> Report:
    """Write through a faulty proxy, and compare the ledgers with the versions on the server."""
    faults: list[str | None] = [*[name for name in FAULTS if name != SLOW] * 4, SLOW, *[None] * 30]
    report = Report()
    with FaultyProxy(server.port, lambda: random.choice(faults), slow_s) as proxy:
        url = f"http://127.0.0.1:{proxy.port}"
        if client == "typescript":
            ledgers = [_typescript_ledger(url, server.key, operations, workers)]
        else:
            work = partial(_work, url, server.key, operations // workers, timeout_s)
            with ThreadPoolExecutor(workers) as pool:
                ledgers = list(pool.map(work, range(workers)))
    versions = _versions(server)
    for ledger in ledgers:
        report.certain += ledger.certain.total()
        report.uncertain += ledger.uncertain.total()
        report.errors += ledger.errors
        report.contradictions += ledger.contradictions(versions)
    report.faults = proxy.faults
    return report


def _work(url: str, key: str, operations: int, timeout_s: float, worker: int) -> Ledger:
    """Write with both Python clients in turn, and return this worker's ledger."""
    ledger = Ledger()
    with Client(url, key, timeout=timeout_s) as blocking, asyncio.Runner() as runner:
        asynchronous = AsyncClient(url, key, timeout=timeout_s)
        for client in (blocking, asynchronous):
            client._caller.config = replace(client._caller.config, retries=RETRIES)
        for number in range(operations):
            name = f"w{worker}/{number // (2 * CHANGES_PER_MEMORY)}/{number % 2}"
            _write(ledger, name, number, blocking if number % 2 else asynchronous, runner)
        runner.run(asynchronous.close())
    return ledger


def _typescript_ledger(url: str, key: str, operations: int, workers: int) -> Ledger:
    """Write with the TypeScript client, and return its ledger."""
    command = ["node", "tests/chaos.mjs", str(operations), str(workers), str(CHANGES_PER_MEMORY)]
    environment = {**os.environ, "SOMA_URL": url, "SOMA_API_KEY": key}
    done = subprocess.run(command, cwd=TYPESCRIPT, env=environment, stdout=subprocess.PIPE, check=True)
    ledger = Ledger()
    for name, counts in json.loads(done.stdout).items():
        setattr(ledger, name, Counter(counts))
    return ledger


def _write(ledger: Ledger, key: str, number: int, client: Client | AsyncClient, runner: asyncio.Runner) -> None:
    importance = number % 10
    if isinstance(client, Client):
        memories = client.memories
        ledger.write(key, lambda: memories.store(key, key=key), lambda: memories.update(key=key, importance=importance))
    else:
        memories_async = client.memories
        ledger.write(
            key,
            lambda: runner.run(memories_async.store(key, key=key)),
            lambda: runner.run(memories_async.update(key=key, importance=importance)),
        )


def _versions(server: Server) -> dict[str, int]:
    with Client(f"http://127.0.0.1:{server.port}", server.key) as client:
        return {str(memory["key"]): memory["version"] for memory in client.memories.list(limit=1000)}


def _kill_now_and_then(server: Server, every_s: float, stop: threading.Event) -> None:
    while not stop.wait(every_s):
        server.kill()
        server.start()


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--operations", type=int, default=10_000)
    parser.add_argument("--client", choices=("python", "typescript"), default="python")
    parser.add_argument("--kill-every-s", type=float, default=20.0, help="0: never kill the server")
    options = parser.parse_args()
    began, stop = time.monotonic(), threading.Event()
    with tempfile.TemporaryDirectory() as folder, Server(Path(folder)) as server:
        killer = threading.Thread(target=_kill_now_and_then, args=(server, options.kill_every_s, stop))
        if options.kill_every_s:
            killer.start()
        try:
            report = chaos(
                server,
                operations=options.operations,
                slow_s=3.0,
                timeout_s=2.0,
                random=randomness.Random(1),
                workers=WORKERS,
                client=options.client,
            )
        finally:
            stop.set()
            if options.kill_every_s:
                killer.join()
    print(f"{report.certain} writes acknowledged, {report.uncertain} ended with an error: {dict(report.errors)}")
    print(f"faults: {dict(report.faults)}; {time.monotonic() - began:.0f} s")
    print("\n".join(report.contradictions) or "every acknowledged write took effect once")
    return 1 if report.contradictions else 0


if __name__ == "__main__":
    sys.exit(main())
