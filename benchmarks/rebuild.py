"""Build a new embedding generation under load, kill the server in the middle, and check that no data is lost.

    python -m benchmarks.rebuild [--memories 20000] [--milvus]

Readers and writers run continuously, except while the server is down. The benchmark counts failed searches, searches
without semantic results, and acknowledged writes that are missing afterwards. With --milvus, it uses a real Milvus
server (installed by scripts/test-milvus.sh) instead of the local index.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter

from testing.milvus_server import MilvusServer
from testing.server import ROOT, Client, Server

WORDS = ("amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "heath", "inlet", "jetty", "knoll", "lagoon")


def text(number: int) -> str:
    chosen = random.Random(number)
    return f"memory {number} " + " ".join(chosen.choice(WORDS) for _ in range(12))


class Load:
    """Readers and writers that run until they are stopped. Each has its own connection."""

    def __init__(self, server: Server, memories: int, readers: int = 2, writers: int = 2) -> None:
        self.server, self.memories = server, memories
        self.counts: Counter[str] = Counter()
        self.slow_ms: list[float] = []
        self.written: dict[str, int] = {}  # maps each coordinate to the acknowledged version
        self.deleted: set[str] = set()
        self.stopping, self.down = threading.Event(), threading.Event()
        work = [self._read] * readers + [self._write] * writers
        self.threads = [threading.Thread(target=self._run, args=(action, at)) for at, action in enumerate(work)]

    def __enter__(self) -> Load:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stopping.set()
        for thread in self.threads:
            thread.join()

    def _run(self, work: object, at: int) -> None:
        client, chosen = self.server.client(), random.Random(at)
        while not self.stopping.is_set():
            if self.down.is_set():
                time.sleep(0.05)
                client = self.server.client()
                continue
            try:
                work(client, chosen, at)  # type: ignore[operator]
            except (OSError, http.client.HTTPException):
                if not self.down.is_set():
                    self.counts["no answer"] += 1
                client = self.server.client()
            time.sleep(0.005)

    def _read(self, client: Client, chosen: random.Random, at: int) -> None:
        number = chosen.randrange(self.memories)
        began = time.perf_counter()
        query = {"query": " ".join(text(number).split()[:6]), "top_k": 5}
        status, answer = client.call("POST", "/memories/search", query)
        self.slow_ms.append((time.perf_counter() - began) * 1000)
        self.counts["searches"] += 1
        self.counts["failed searches"] += status != 200
        if status == 200:
            self.counts["degraded searches"] += bool(answer["degraded"])
            self.counts["empty searches"] += not answer["memories"]

    def _write(self, client: Client, chosen: random.Random, at: int) -> None:
        number = self.memories + chosen.randrange(self.memories // 2 + 1) * 16 + at
        coord = f"{number}.0,0.0"
        if chosen.random() < 0.2 and coord in self.written:
            self.deleted.add(coord)
            status, _ = client.call("DELETE", f"/memories/{coord}")
        else:
            self.deleted.discard(coord)
            status, answer = client.call("POST", "/memories", {"coord": coord, "payload": {"text": text(number)}})
            if status < 300:
                self.written[coord] = answer["version"]
        self.counts["writes"] += 1
        self.counts["failed writes"] += status >= 300

    def lost(self, client: Client) -> int:
        """Return the number of memories that are missing although storing them was acknowledged.

        A delete without a response may or may not have taken effect, so deleted coordinates are not counted.
        """
        missing = 0
        for coord, version in self.written.items():
            if coord in self.deleted:
                continue
            status, answer = client.call("GET", f"/memories/{coord}")
            missing += status != 200 or answer["memory"]["version"] < version
        return missing


def manage(server: Server, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), *command], env=server.environment, capture_output=True, text=True
    )


def rebuild(server: Server, load: Load, kill: bool) -> dict[str, object]:
    """Request a generation for the hashing embedder, kill the server when a third is done, and wait for completion."""
    client = server.client()
    started = time.monotonic()
    job = client.post("/api/v1/rebuild-embeddings", {"provider": "hashing", "dimension": 384})
    killed = not kill
    down_s = 0.0
    while True:
        state = client.get(f"/api/v1/jobs/{job['job_id']}")
        if state["state"] in ("done", "failed"):
            break
        if not killed and state["total"] and 0 < state["total"] // 3 < state["done"]:
            load.down.set()
            server.kill()
            down_s = server.start()
            client = server.client()
            load.down.clear()
            killed = True
            print(f"  killed at {state['done']:,} of {state['total']:,}; back after {down_s:.1f} s", flush=True)
        time.sleep(0.2)
    return {"seconds": round(time.monotonic() - started, 1), "job": state}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--memories", type=int, default=20_000)
    parser.add_argument("--milvus", action="store_true")
    parser.add_argument("--no-kill", action="store_true")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="soma-rebuild-")))
        settings = {"SOMA_LOG_LEVEL": "WARNING", "SOMA_KEY_RATE": "0", "SOMA_TENANT_RATE": "0"}
        settings |= {name: value for name, value in os.environ.items() if name in ("SOMA_DATABASE_URL",)}
        if options.milvus:
            (folder / "milvus").mkdir()
            settings["SOMA_MILVUS_URI"] = stack.enter_context(MilvusServer(folder / "milvus")).uri
        server = stack.enter_context(Server(folder, **settings))
        client = server.client()
        for start in range(0, options.memories, 500):
            part = range(start, min(start + 500, options.memories))
            items = [{"coord": [number], "payload": {"text": text(number)}} for number in part]
            client.post("/memories/bulk", {"items": items})
        print(f"{options.memories:,} memories stored; indexed {client.wait_until_indexed():.1f} s later", flush=True)
        with Load(server, options.memories) as load:
            outcome = rebuild(server, load, kill=not options.no_kill)
        client = server.client()
        behind_s = client.wait_until_indexed()
        lost = load.lost(client)
        compared = manage(server, "reconcile")
        load.slow_ms.sort()
        print(f"rebuilt in {outcome['seconds']} s: {outcome['job']}")
        print(
            f"{dict(load.counts)}; p50 {load.slow_ms[len(load.slow_ms) // 2]:.0f} ms, "
            f"p99 {load.slow_ms[int(len(load.slow_ms) * 0.99)]:.0f} ms"
        )
        print(f"{len(load.written):,} coordinates written, lost: {lost}; the index caught up {behind_s:.1f} s later")
        print(f"reconcile (exit {compared.returncode}): {' / '.join(compared.stdout.split(chr(10)))}{compared.stderr}")
        bad = lost or load.counts["failed searches"] or load.counts["no answer"] or compared.returncode
        return 1 if bad or outcome["job"]["state"] != "done" else 0  # type: ignore[index]


if __name__ == "__main__":
    sys.exit(main())
