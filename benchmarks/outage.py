"""Search while the Milvus server is killed, hangs and recovers.

    python -m benchmarks.outage [--memories 5000] [--seconds 20]

Every search must succeed. While Milvus is down, responses must contain `degraded: ["semantic"]` and arrive within 300
ms (p99). The measurement begins with the kill, so it includes calls that were already in progress.
"""

from __future__ import annotations

import argparse
import pathlib
import random
import sys
import tempfile
import threading
import time

from benchmarks.rebuild import text
from testing.milvus_server import MilvusServer
from testing.server import Server

GOAL_MS = 300


class Searches:
    """Clients that search continuously, and record the outcome and duration of each search."""

    def __init__(self, server: Server, memories: int, clients: int = 4) -> None:
        self.server, self.memories = server, memories
        self.seen: list[tuple[float, float, int, bool]] = []  # start, ms, status, degraded
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self._run, args=(at,)) for at in range(clients)]

    def __enter__(self) -> Searches:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stopping.set()
        for thread in self.threads:
            thread.join()

    def _run(self, at: int) -> None:
        client, chosen = self.server.client(), random.Random(at)
        while not self.stopping.is_set():
            query = {"query": " ".join(text(chosen.randrange(self.memories)).split()[:6]), "top_k": 5}
            started = time.monotonic()
            status, answer = client.call("POST", "/memories/search", query)
            self.seen.append(
                (started, (time.monotonic() - started) * 1000, status, bool((answer or {}).get("degraded")))
            )
            time.sleep(0.02)

    def between(self, begin: float, end: float, name: str) -> tuple[int, float]:
        """Report on a period, and return (number of responses with a status other than 200, p99 in ms)."""
        part = [search for search in self.seen if begin <= search[0] < end]
        times = sorted(search[1] for search in part)
        failed = sum(search[2] != 200 for search in part)
        flagged = sum(search[3] for search in part)
        p99 = times[int(len(times) * 0.99)]
        print(
            f"{name:22} {len(part):5} searches, {failed} failed, {flagged} degraded; "
            f"p50 {times[len(times) // 2]:.0f} ms, p99 {p99:.0f} ms, longest {times[-1]:.0f} ms",
            flush=True,
        )
        return failed, p99

    def wait_until(self, degraded: bool, timeout_s: float) -> float:
        """Wait until twenty consecutive responses are degraded, or not, and return how many seconds that took."""
        began = time.monotonic()
        while time.monotonic() - began < timeout_s:
            if len(self.seen) > 20 and all(search[3] == degraded and search[0] > began for search in self.seen[-20:]):
                return time.monotonic() - began
            time.sleep(0.05)
        raise RuntimeError(f"no response with degraded={degraded} within {timeout_s} s")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--memories", type=int, default=5_000)
    parser.add_argument("--seconds", type=float, default=20, help="duration of each outage")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soma-outage-") as name:
        folder = pathlib.Path(name)
        (folder / "milvus").mkdir()
        with MilvusServer(folder / "milvus") as milvus:
            settings = {"SOMA_LOG_LEVEL": "WARNING", "SOMA_KEY_RATE": "0", "SOMA_TENANT_RATE": "0"}
            with Server(folder, SOMA_MILVUS_URI=milvus.uri, **settings) as server:
                return _outages(server, milvus, options.memories, options.seconds)


def _outages(server: Server, milvus: MilvusServer, memories: int, seconds: float) -> int:
    client = server.client()
    for start in range(0, memories, 500):
        part = range(start, min(start + 500, memories))
        client.post("/memories/bulk", {"items": [{"coord": [at], "payload": {"text": text(at)}} for at in part]})
    client.wait_until_indexed()
    bad = 0
    with Searches(server, memories) as searches:
        time.sleep(seconds / 2)
        begin = time.monotonic()
        searches.between(0, begin, "before")
        for how in ("killed", "hanging"):
            begin = time.monotonic()
            milvus.kill() if how == "killed" else milvus.pause()
            time.sleep(seconds)
            status, _ = client.call(
                "POST", "/memories", {"coord": [-1], "payload": {"text": "stored during the outage"}}
            )
            mode, _ = client.call("POST", "/memories/search", {"query": "amber", "mode": "semantic"})
            end = time.monotonic()
            failed, p99 = searches.between(begin, end, f"Milvus {how}")
            print(f"{'':22} write during the outage: {status}; mode=semantic: {mode}")
            bad += failed + (p99 > GOAL_MS) + (status >= 300) + (mode != 503)
            milvus.start() if how == "killed" else milvus.resume()
            back_s = searches.wait_until(degraded=False, timeout_s=90)
            print(f"{'':22} complete results {back_s:.1f} s after Milvus was back", flush=True)
    print(f"index caught up {client.wait_until_indexed():.1f} s later")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
