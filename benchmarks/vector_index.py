"""Measure the local vector index: `python -m benchmarks.vector_index [--sizes 10000 100000 1000000]`.

For each size, the benchmark prints the time per search (with and without a filter for one of ten namespaces) and the
time that numpy takes to search the same vectors in a float32 array; the recall of the first 10 and 200 hits; the time
to add a point, to open the index, and to verify it after the machine has restarted; and the bytes of memory and disk
space per point.

The vectors come from sentences in this documentation (`language`) or form 200 dense clusters (`clusters`), in which
neighbours are hardest to distinguish.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import re
import resource
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator

import django
import numpy as np

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "somamemory.settings")
django.setup()

from memories import embeddings  # noqa: E402 - Django must be set up first
from memories.index.base import Point, Vector, Where  # noqa: E402
from memories.index.local.index import LocalIndex  # noqa: E402

HOME = pathlib.Path(__file__).resolve().parent.parent
NAMESPACES = [f"namespace-{number}" for number in range(10)]
EVERYWHERE, ONE = Where(tuple(NAMESPACES)), Where((NAMESPACES[3],))
BATCH = 256
TENANT = uuid.UUID(int=1)
_QUERIES = 50


def sentences() -> list[str]:
    text = " ".join(path.read_text() for path in sorted((HOME / "docs").rglob("*.md")))
    return [part.strip() for part in re.split(r"[.|\n]", text) if len(part.split()) > 3]


def language(count: int, rng: np.random.Generator) -> Iterator[Vector]:
    """Yield batches of vectors that resemble text embeddings.

    Each vector is a weighted sum of three sentences' vectors. It resembles a text's vector, because WordLlama averages
    the vectors of the words in a text.
    """
    base = np.asarray(embeddings.made("wordllama").embed(sentences()), np.float32)
    base /= np.linalg.norm(base, axis=1, keepdims=True)
    for start in range(0, count, BATCH):
        size = min(BATCH, count - start)
        weights = rng.dirichlet((1.0, 0.6, 0.4), size).astype(np.float32)
        yield np.einsum("nk,nkd->nd", weights, base[rng.integers(0, len(base), (size, 3))])


def clusters(count: int, rng: np.random.Generator) -> Iterator[Vector]:
    centres = rng.standard_normal((200, 256)).astype(np.float32)
    for start in range(0, count, BATCH):
        size = min(BATCH, count - start)
        noise = rng.standard_normal((size, 256)).astype(np.float32) * np.float32(0.05)
        yield centres[rng.integers(0, 200, size)] + noise


KINDS: dict[str, Callable[[int, np.random.Generator], Iterator[Vector]]] = {"language": language, "clusters": clusters}


class Filled:
    """An index with points, and the same vectors as an array."""

    def __init__(self, folder: pathlib.Path, count: int, kind: str) -> None:
        self.folder, self.count, self.kind = folder, count, kind
        self.index = LocalIndex(folder, "benchmark", 256)
        self.vectors = np.empty((count, 256), np.float32)
        self.ids: list[uuid.UUID] = []

    def fill(self) -> float:
        """Add all points, and return the seconds per point."""
        rng, took_s = np.random.default_rng(7), 0.0
        for batch in KINDS[self.kind](self.count, rng):
            start = len(self.ids)
            self.vectors[start : start + len(batch)] = batch
            points = [
                Point(uuid.uuid4(), 1, NAMESPACES[(start + n) % 10], "episodic", row) for n, row in enumerate(batch)
            ]
            self.ids += [point.id for point in points]
            began = time.process_time()
            self.index.upsert(TENANT, points)
            took_s += time.process_time() - began
        self.vectors /= np.linalg.norm(self.vectors, axis=1, keepdims=True)
        return took_s / self.count

    def queries(self) -> Iterator[Vector]:
        yield from next(iter(KINDS[self.kind](BATCH, np.random.default_rng(11))))[:_QUERIES]

    def recall(self, limit: int) -> float:
        """Return the fraction of the true neighbours that are found. Similarities are compared to six digits."""
        right = 0
        for query in self.queries():
            similarities = self.vectors @ (query / np.linalg.norm(query))
            least = np.sort(similarities)[-limit] - 1e-6
            where = dict(zip(self.ids, similarities.tolist(), strict=True)) if self.count <= 100_000 else None
            hits = self.index.search(TENANT, query, EVERYWHERE, limit)
            right += sum((where[hit.id] if where else hit.similarity) >= least for hit in hits)
        return right / (limit * _QUERIES)


def milliseconds(queries: Iterator[Vector], search: Callable[[Vector], object]) -> str:
    """Return the medians of wall and CPU time."""
    walls, cpus = [], []
    for query in queries:
        began, cpu = time.perf_counter(), time.process_time()
        search(query)
        walls.append((time.perf_counter() - began) * 1000)
        cpus.append((time.process_time() - cpu) * 1000)
    return f"{statistics.median(walls):8.2f} ms ({statistics.median(cpus):.2f} CPU)"


def resident() -> int:
    return int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def timed(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def report(filled: Filled) -> None:
    print(f"\n{filled.count:,} x 256, {filled.kind}")
    print(f"  add, in batches of {BATCH}   {filled.fill() * 1e6:8.1f} µs CPU")
    one = [Point(uuid.uuid4(), 1, NAMESPACES[0], "episodic", filled.vectors[n]) for n in range(200)]
    alone = [timed(lambda point=point: filled.index.upsert(TENANT, [point])) for point in one]  # type: ignore[misc]
    print(f"  add one                  {statistics.median(alone) * 1e6:8.1f} µs")
    filled.index.delete(TENANT, [point.id for point in one])
    filled.index.close()
    before = resident()
    query = next(filled.queries())
    print(
        f"  open and search first    {timed(lambda: filled.index.search(TENANT, query, EVERYWHERE, 10)) * 1000:8.2f} ms"
    )
    for limit in (10, 200):
        print(
            f"  search, limit {limit:<10} "
            f"{milliseconds(filled.queries(), lambda q, n=limit: filled.index.search(TENANT, q, EVERYWHERE, n))}"  # type: ignore[misc]
        )
    filtered = milliseconds(filled.queries(), lambda q: filled.index.search(TENANT, q, ONE, 10))
    print(f"  with a filter, limit 10  {filtered}")
    print(f"  numpy, limit 10          {milliseconds(filled.queries(), lambda q: exact(filled.vectors, q))}")
    print(f"  memory                   {(resident() - before) / filled.count:8.0f} bytes per point")
    files = sum(file.stat().st_blocks * 512 for file in filled.folder.rglob("*"))
    print(f"  disk                     {files / filled.count:8.0f} bytes per point")
    print(f"  recall of 10 and 200     {filled.recall(10):.4f} {filled.recall(200):.4f}")
    store = filled.index._opened(TENANT)
    assert store is not None
    print(f"  verify after a restart   {timed(store.verify):8.2f} s", flush=True)


def exact(vectors: Vector, query: Vector) -> object:
    similarities = vectors @ query
    best = np.argpartition(similarities, -10)[-10:]
    return best[np.argsort(-similarities[best])]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    options = parser.parse_args()
    for size in options.sizes:
        for kind in options.kinds:
            with tempfile.TemporaryDirectory(prefix="soma-vectors-") as folder:
                report(Filled(pathlib.Path(folder), size, kind))


if __name__ == "__main__":
    main()
