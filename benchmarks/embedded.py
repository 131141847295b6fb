"""Measure the embedded default on this machine: `make bench`, or `python -m benchmarks.embedded --sizes 1000`.

A single local client sends requests to a real server (SQLite and the local vector index), one at a time. For each size,
the benchmark measures the latency of store, fetch and search requests, the server's CPU time per request, bulk loading,
the time that the index takes to catch up, the server's memory, and how long a restarted server needs to answer its
first search. The last column compares the largest with the smallest size of the same run. `--save FILE` saves the
results, and `--compare FILE` compares the results with saved ones.
"""

from __future__ import annotations

import argparse
import itertools
import pathlib
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks import baseline
from testing.server import Client, Server

BULK = 500
SIZES = (1_000, 10_000, 50_000)


@dataclass
class Measured:
    """The durations of one kind of request, in milliseconds."""

    p50: float
    p95: float
    cpu: float


def texts(seed: int, vocabulary: int = 20_000) -> Any:
    """Yield an endless series of sentences with made-up words, with frequencies as in natural language (Zipf's law)."""
    chance = random.Random(seed)
    syllables = ["ka", "lo", "mi", "ren", "tas", "vor", "el", "du", "shi", "nap", "qui", "bro"]
    words = ["".join(chance.choices(syllables, k=chance.randint(1, 4))) + str(n % 7) for n in range(vocabulary)]
    weights = list(itertools.accumulate(1 / (rank + 1) for rank in range(len(words))))
    while True:
        yield " ".join(chance.choices(words, cum_weights=weights, k=chance.randint(8, 40)))


def measure(server: Server, count: int, request: Callable[[int], Any]) -> Measured:
    latencies = []
    before = server.cpu_s()
    for number in range(count):
        began = time.perf_counter()
        request(number)
        latencies.append((time.perf_counter() - began) * 1000)
    cpu = (server.cpu_s() - before) * 1000 / count
    return Measured(statistics.median(latencies), statistics.quantiles(latencies, n=20)[-1], cpu)


def load(server: Server, client: Client, source: Any, start: int, end: int) -> dict[str, float]:
    began, cpu = time.perf_counter(), server.cpu_s()
    for first in range(start, end, BULK):
        items = [
            {"coord": [number // 1000, number % 1000], "payload": {"text": next(source)}, "importance": number % 11}
            for number in range(first, min(first + BULK, end))
        ]
        client.post("/memories/bulk", {"items": items})
        progress(f"loading {end:,}", (first + len(items) - start) / (end - start))
    took = time.perf_counter() - began
    lag = client.wait_until_indexed(1800)
    count = end - start
    return {"rate": count / took, "lag": lag, "cpu": (server.cpu_s() - cpu) * 1000 / count}


def restart(server: Server, query: str) -> float:
    """Restart the server, and return how many seconds pass until it has answered a search."""
    server.stop()
    began = time.perf_counter()
    server.start()
    server.client(timeout_s=300).post("/memories/search", {"query": query, "top_k": 10})
    return time.perf_counter() - began


def run(size: int, start: int, server: Server, source: Any, repeats: int) -> dict[str, float]:
    client = server.client(timeout_s=300)
    loaded = load(server, client, source, start, size)
    queries = [" ".join(next(source).split()[:6]) for _ in range(repeats)]
    chance = random.Random(size)
    store = measure(
        server,
        repeats,
        lambda n: client.post("/memories", {"coord": [-1, size, n], "payload": {"text": next(source)}}),
    )
    lag_after_stores = client.wait_until_indexed()
    fetch = measure(
        server, repeats, lambda n: client.get(f"/memories/{(at := chance.randrange(size)) // 1000},{at % 1000}")
    )
    found = measure(server, repeats, lambda n: client.post("/memories/search", {"query": queries[n], "top_k": 10}))
    figures = {
        "bulk store, memories/s": loaded["rate"],
        "bulk store + index, server CPU ms/memory": loaded["cpu"],
        "index lag after the bulk, s": loaded["lag"],
        "index lag after single stores, s": lag_after_stores,
    }
    for name, measured in (("store", store), ("fetch", fetch), ("search", found)):
        figures |= {
            f"{name} p50, ms": measured.p50,
            f"{name} p95, ms": measured.p95,
            f"{name}, server CPU ms": measured.cpu,
        }
    figures["server memory, MiB"] = server.rss_mb()
    figures["server memory without mapped files, MiB"] = server.own_mb()
    return figures | {"restart until the first search, s": restart(server, queries[0])}


def progress(what: str, share: float) -> None:
    if sys.stderr.isatty():
        filled = int(share * 40)
        print(f"\r{what:>16} [{'#' * filled}{' ' * (40 - filled)}]", end="" if share < 1 else "\n", file=sys.stderr)


def table(results: dict[int, dict[str, float]]) -> str:
    sizes = list(results)
    lines = [f"{'':42}" + "".join(f"{size:>10,}" for size in sizes) + f"{'growth':>10}"]
    for name in results[sizes[0]]:
        row = [results[size][name] for size in sizes]
        growth = f"{row[-1] / row[0]:>9.1f}x" if row[0] else ""
        lines.append(f"{name:42}" + "".join(f"{value:>10,.1f}" for value in row) + growth)
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="memories, ascending")
    parser.add_argument("--repeats", type=int, default=300, help="number of requests of each kind")
    baseline.add_options(parser)
    options = parser.parse_args()
    results: dict[int, dict[str, float]] = {}
    with tempfile.TemporaryDirectory(prefix="soma-bench-") as folder, Server(pathlib.Path(folder)) as server:
        source, start = texts(seed=1), 0
        print(f"{'empty server memory, MiB':42}{server.rss_mb():>10,.1f}")
        for size in sorted(options.sizes):
            results[size] = run(size, start, server, source, options.repeats)
            start = size
    print(table(results))
    figures = {f"{size:,}: {name}": value for size, row in results.items() for name, value in row.items()}
    baseline.finish(figures, options)


if __name__ == "__main__":
    main()
