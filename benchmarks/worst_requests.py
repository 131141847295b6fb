"""Send a server the worst requests that the schema allows: `python -m benchmarks.worst_requests --requests 200`.

The benchmark starts its own server, fills it with small memories, a hub of links, conversations and ten linked memories
of 9.8 MB each, and then sends random large requests: filters with 100 conditions, prefixes, boxes, maps, traversals,
exports, imports, bulk operations and tool calls. It runs on SQLite or, with --database, on an empty PostgreSQL
database.

It reports the peak of the server's memory above the baseline, the longest request in relation to its deadline, and the
longest response time of `/readyz` during the run. Pages of files that were mapped before a request do not count. It
fails if a response has status 500 or a limit is exceeded.
"""

from __future__ import annotations

import argparse
import bisect
import contextlib
import http.client
import json
import multiprocessing
import pathlib
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from multiprocessing.connection import Connection

from benchmarks.limit_requests import BATCH, LARGE, LARGE_TOOL, WORDS, Sent, Worst, large_memory
from testing.server import Client, Server

MAX_PEAK_MB = 600
MAX_PROBE_MS = 200
GRACE_S = 1.0
SECRETS = "benchmark-secrets"  # in the data folder, for a later run with the same data


def fill(server: Server, count: int) -> None:
    client, chance = server.client(timeout_s=600), random.Random(1)
    for start in range(0, count, BATCH):
        items = [
            {
                "coord": [0, number],
                "payload": {"text": " ".join(chance.choices(WORDS, k=12)), "n": number, "tags": ["a", "b"]},
                "metadata": {"source": chance.choice(WORDS)},
                "importance": chance.random(),
            }
            for number in range(start, min(start + BATCH, count))
        ]
        client.post("/api/v1/memories/bulk", {"items": items})
    for at in range(10):
        status, code = send(client, large_memory(at, LARGE[at % len(LARGE)]))
        if status != 201:
            raise RuntimeError(f"a large memory was not stored: {status} {code}")
    ends = [([0, 0], [0, number]) for number in range(1, 10_000)]  # a hub
    ends += [([0, chance.randrange(2_000)], [0, chance.randrange(2_000)]) for _ in range(20_000)]
    ends += [([7, one], [7, other]) for one in range(10) for other in range(10) if one != other]
    for start in range(0, len(ends), BATCH):
        links = [
            {"from_coord": one, "to_coord": other, "link_type": "to", "strength": chance.random()}
            for one, other in ends[start : start + BATCH]
        ]
        client.post("/api/v1/graph/links/bulk", {"links": links})
    conversation = client.post("/api/v1/conversations", {"label": "benchmark"})["id"]
    messages = [{"role": "user", "content": " ".join(chance.choices(WORDS, k=1_000))} for _ in range(500)]
    for _ in range(4):
        client.post(f"/api/v1/conversations/{conversation}/messages", {"messages": messages})


def load(server: Server, options: argparse.Namespace) -> None:
    """Fill the server, stop it, and save its secrets for later runs with the same data."""
    began = time.monotonic()
    fill(server, options.memories)
    if not options.no_index:
        server.client(timeout_s=300).wait_until_indexed(3600)
    server.stop()
    (server.data_dir / SECRETS).write_text(f"{server.key}\n{server.environment['SOMA_SECRET_KEY']}\n")
    print(f"filled in {time.monotonic() - began:.0f} s", flush=True)


class Probe:
    """Calls `/readyz` repeatedly in its own process, so that it is not delayed by the thread that sends requests."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.begun: list[tuple[float, str]] = []  # the time and the kind of each request
        self.waits: list[tuple[float, float]] = []  # the time and the milliseconds of each call
        self._here, there = multiprocessing.Pipe()
        self._process = multiprocessing.get_context("fork").Process(target=self._run, args=(there,), daemon=True)

    def start(self) -> None:
        self._process.start()

    def stop(self) -> None:
        self._here.send(None)
        self.waits = self._here.recv()
        self._process.join()

    def longest_ms(self) -> dict[str, float]:
        """Return the longest wait during each kind of request."""
        longest: dict[str, float] = {}
        for began, wait_ms in self.waits:
            at = bisect.bisect(self.begun, (began + wait_ms / 1000, "~")) - 1
            kind = self.begun[at][1] if at >= 0 else ""
            longest[kind] = max(longest.get(kind, 0.0), wait_ms)
        return longest

    def _run(self, pipe: Connection) -> None:
        client, waits = self.server.client(timeout_s=60), []
        while not pipe.poll(0.02):
            began = time.monotonic()
            client.call("GET", "/readyz")
            waits.append((began, (time.monotonic() - began) * 1000))
        pipe.send(waits)


def peak_mb(server: Server) -> float:
    """Return the sum of the peak memory of each server process since `forget_peaks`."""
    return _status_mb(server, "VmHWM")


def mapped_mb(server: Server) -> float:
    """Return the size of the resident pages of mapped files, which the system drops when it needs memory."""
    return _status_mb(server, "RssFile")


def _status_mb(server: Server, name: str) -> float:
    kib = 0
    for pid in server.pids():
        with contextlib.suppress(OSError):
            lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
            kib += sum(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))
    return kib / 1024


def forget_peaks(server: Server) -> float:
    """Reset the peak memory of each server process, and return `mapped_mb`."""
    for pid in server.pids():
        with contextlib.suppress(OSError):
            pathlib.Path(f"/proc/{pid}/clear_refs").write_text("5")
    return mapped_mb(server)


def send(client: Client, sent: Sent) -> tuple[int, str]:
    """Send a request, read the whole response, and return its status and its error code (perhaps from a tool)."""
    headers = dict(client.headers)
    if sent.raw is not None:
        headers["Content-Type"] = "text/markdown"
    content = (
        sent.raw
        if sent.raw is not None
        else None
        if sent.body is None
        else json.dumps(sent.body, ensure_ascii=False, separators=(",", ":")).encode()
    )
    client.connection.request(sent.method, sent.path, content, headers)
    response = client.connection.getresponse()
    first = response.read(1_000_000)
    while response.read(1_000_000):
        pass
    if response.status >= 400:
        return response.status, str(json.loads(first).get("code"))
    return response.status, "tool_error" if sent.path == "/mcp" and json.loads(first)["result"].get("isError") else ""


def measure(server: Server, options: argparse.Namespace) -> bool:
    worst = Worst(random.Random(options.seed))
    probe = Probe(server)
    mapped = forget_peaks(server)
    base_mb = peak_mb(server) - mapped  # counts shared memory once per process, as the later peaks do
    probe.start()
    late_s, outcomes, slowest = 0.0, Counter[str](), dict[str, float]()
    bad: list[str] = []
    peaks: list[tuple[float, str]] = []
    for _ in range(options.requests):
        sent = worst.next()
        probe.begun.append((time.monotonic(), sent.kind))
        deadline_s = options.long_deadline if sent.long else options.deadline
        client = server.client(timeout_s=deadline_s + 60)
        began = time.monotonic()
        try:
            status, code = send(client, sent)
        except (OSError, http.client.HTTPException) as error:
            status, code = 0, type(error).__name__
        took_s = time.monotonic() - began
        client.connection.close()
        late_s = max(late_s, took_s - deadline_s)
        outcomes[f"{status} {code}".strip()] += 1
        slowest[sent.kind] = max(slowest.get(sent.kind, 0.0), took_s)
        peaks.append((peak_mb(server) - min(mapped, mapped_mb(server)) - base_mb, sent.kind))
        mapped = forget_peaks(server)
        if (status in (0, 500) and not sent.long) or (code == "tool_error" and sent.kind == LARGE_TOOL):
            bad.append(f"{sent.kind}: {status} {code}")
        if options.verbose:
            print(f"{sent.kind:14} {status} {code:20} {took_s:6.2f} s  peak +{peaks[-1][0]:.0f} MB", flush=True)
    probe.stop()
    return report(options, base_mb, peaks, late_s, outcomes, slowest, probe, bad)


def report(
    options: argparse.Namespace,
    base_mb: float,
    peaks: list[tuple[float, str]],
    late_s: float,
    outcomes: Counter[str],
    slowest: dict[str, float],
    probe: Probe,
    bad: list[str],
) -> bool:
    peak, kind = max(peaks)
    ordered = sorted(wait_ms for _, wait_ms in probe.waits)
    print(f"{options.requests} requests with {options.memories} memories: {dict(outcomes)}")
    print("slowest, seconds:", {name: round(seconds, 2) for name, seconds in sorted(slowest.items())})
    print(f"memory: {base_mb:.0f} MB, peak {peak:.0f} MB above it ({kind}); bound {MAX_PEAK_MB} MB")
    print(f"longest request: {late_s:+.2f} s from its deadline; bound +{GRACE_S:.0f} s")
    print(
        f"/readyz: median {statistics.median(ordered):.0f} ms, p99 {ordered[int(len(ordered) * 0.99)]:.0f} ms, worst "
        f"{ordered[-1]:.0f} ms of {len(ordered)}; bound {MAX_PROBE_MS} ms"
    )
    print("/readyz, longest during:", {name: round(ms) for name, ms in sorted(probe.longest_ms().items())})
    for line in bad:
        print("error:", line)
    return not bad and peak <= MAX_PEAK_MB and late_s <= GRACE_S and ordered[-1] <= MAX_PROBE_MS


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--memories", type=int, default=100_000)
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--deadline", type=int, default=30, help="SOMA_REQUEST_DEADLINE_S")
    parser.add_argument("--long-deadline", type=int, default=600, help="SOMA_LONG_REQUEST_DEADLINE_S")
    parser.add_argument("--database", default="", help="the URL of an empty PostgreSQL database")
    parser.add_argument("--no-index", action="store_true", help="do not embed the memories, which is faster")
    parser.add_argument("--keep", type=pathlib.Path, help="a folder for the data, which a later run can reuse")
    parser.add_argument("--verbose", action="store_true", help="print each request")
    options = parser.parse_args()
    settings = {
        "SOMA_DATABASE_URL": options.database,
        "SOMA_REQUEST_DEADLINE_S": "600",  # while the data is loaded
        "SOMA_INDEXER": "none" if options.no_index else "thread",
        "SOMA_LOG_LEVEL": "WARNING",
    }
    deadlines = {
        "SOMA_REQUEST_DEADLINE_S": str(options.deadline),
        "SOMA_LONG_REQUEST_DEADLINE_S": str(options.long_deadline),
    }
    given = {name: value for name, value in settings.items() if value}
    with contextlib.ExitStack() as stack:
        kept: pathlib.Path | None = options.keep
        folder = kept or pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="soma-worst-")))
        folder.mkdir(exist_ok=True)
        server = Server(folder, **given)
        if (folder / SECRETS).exists():
            server.key, server.environment["SOMA_SECRET_KEY"] = (folder / SECRETS).read_text().split()
        else:
            load(stack.enter_context(server), options)
        server.environment |= deadlines
        server.start()
        stack.callback(server.stop)
        return 0 if measure(server, options) else 1


if __name__ == "__main__":
    sys.exit(main())
