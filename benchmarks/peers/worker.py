"""Measure one store: `python -m benchmarks.peers.worker OPTIONS`, in the peers' environment.

OPTIONS is a JSON object: the name of the store, the folder of the corpus, and options for the store. The results are
written to standard output as one JSON object.
"""

from __future__ import annotations

import json
import pathlib
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np

from benchmarks import cpu
from benchmarks.peers.stores import GROUPS, STORES, Item, Store

CLIENTS = 8
WARM_UP = 30


class Worker:
    def __init__(self, options: dict[str, Any]) -> None:
        corpus = pathlib.Path(options["corpus"])
        texts = json.loads((corpus / "texts.json").read_text())
        self.vectors = np.load(corpus / "vectors.npz")
        self.memories = _items(texts["memories"], self.vectors["memories"], 0)
        self.queries = _items(texts["queries"], self.vectors["queries"], 0)
        self.extra = iter(_items(texts["extra"], self.vectors["extra"], len(self.memories)))
        options["dimension"] = self.vectors["queries"].shape[1]
        self.requests: int = options["requests"]
        self.store: Store = STORES[options["store"]](options)

    def run(self, rounds: int) -> dict[str, Any]:
        began = time.monotonic()
        self.store.fill(self.memories)
        results: dict[str, Any] = {"fill": round(len(self.memories) / (time.monotonic() - began))}
        # Before anything else is stored, because the exact neighbours were computed for the memories alone
        recalls = {kind: {"recall": self.recall(kind)} for kind in ("semantic", "filtered")}
        for kind in self.store.kinds:
            for call in self.calls(kind, WARM_UP):
                call()
        series = [{kind: self.measure(kind) for kind in self.store.kinds} for _ in range(rounds)]
        for kind in self.store.kinds:
            names = series[0][kind]
            results[kind] = {name: statistics.median(one[kind][name] for one in series) for name in names}
            results[kind] |= recalls.get(kind, {})
        return results

    def calls(self, kind: str, count: int) -> Iterator[Callable[[], object]]:
        for number in range(count):
            if kind == "fetch":
                yield partial(self.store.fetch, (number * 7_919) % len(self.memories))
            elif kind == "store":
                yield partial(self.store.store, next(self.extra))
            else:
                yield partial(self.store.search, kind, self.queries[number % len(self.queries)])

    def measure(self, kind: str) -> dict[str, float]:
        latencies = []
        before = cpu.used_s(self.store.roots)
        for call in self.calls(kind, self.requests):
            began = time.perf_counter()
            call()
            latencies.append((time.perf_counter() - began) * 1_000)
        used_ms = (cpu.used_s(self.store.roots) - before) * 1_000 / self.requests
        calls = list(self.calls(kind, self.requests))
        with ThreadPoolExecutor(CLIENTS) as pool:
            list(pool.map(lambda call: call(), calls[:CLIENTS]))  # opens the connections
            began = time.perf_counter()
            list(pool.map(lambda call: call(), calls[CLIENTS:]))
            rate = (self.requests - CLIENTS) / (time.perf_counter() - began)
        return {"p50": statistics.median(latencies), "cpu": used_ms, "rate": rate}

    def recall(self, kind: str) -> float:
        """Return the fraction of the true ten nearest memories that the store returns.

        Neighbours with equal similarities count as well.
        """
        least = self.vectors["best" if kind == "semantic" else "best_in_group"]
        known = self.vectors["memories"]
        shares = []
        for query, bound in zip(self.queries, least, strict=True):
            found = self.store.search(kind, query)
            similarities = known[found] @ np.asarray(query.vector, dtype=np.float32)
            if kind == "filtered":
                similarities = similarities[[number % GROUPS == query.group for number in found]]
            shares.append(np.count_nonzero(similarities >= bound - 1e-5) / 10)
        return float(np.mean(shares))


def _items(texts: list[str], vectors: Any, first: int) -> list[Item]:
    return [
        Item(number, text, vector.tolist())
        for number, (text, vector) in enumerate(zip(texts, vectors, strict=True), first)
    ]


def main() -> None:
    options = json.loads(sys.argv[1])
    worker = Worker(options)
    try:
        results = worker.run(options["rounds"])
    finally:
        if close := getattr(worker.store, "close", None):
            close()
    print(json.dumps(results))


if __name__ == "__main__":
    main()
