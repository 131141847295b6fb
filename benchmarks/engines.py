"""Compare vector index engines: `python -m benchmarks.engines --texts FILE [--questions FILE]`.

For each engine, the benchmark prints the recall of the first 10 hits compared with an exact search, the time per
search, the CPU time per search across all processes involved, the same figures with a filter that matches one memory in
ten, and the CPU time to add a memory.

    local      always
    pgvector   with --database, the URL of a PostgreSQL server with pgvector on this machine
    milvus     if run as `python -m testing.milvus_server COMMAND`, which starts a server for COMMAND

In PostgreSQL, the benchmark creates a table and drops it afterwards. The files contain one text per line. Without a
questions file, every hundredth text is used as a question.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import django
import numpy as np
from numpy.typing import NDArray

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "somamemory.settings")

from benchmarks import cpu

if TYPE_CHECKING:
    from memories.index.base import Point, VectorIndex

K = 10
BATCH = 500
QUESTIONS = 200
STALE_S = 10  # a search in Milvus may miss writes from the last few seconds
TENANT = uuid.UUID(int=1)
RARE, COMMON = "semantic", "episodic"


@dataclass
class Corpus:
    """Unit vectors, memory ids, and the true neighbours of each question, among all memories and among rare ones."""

    memories: NDArray[np.float32]
    questions: NDArray[np.float32]
    ids: list[uuid.UUID] = field(init=False)
    nearest: dict[str | None, list[set[uuid.UUID]]] = field(init=False)

    def __post_init__(self) -> None:
        self.ids = [uuid.uuid4() for _ in self.memories]
        self.nearest = {kind: [self._nearest(question, kind) for question in self.questions] for kind in (None, RARE)}

    def kind(self, number: int) -> str:
        return RARE if number % 10 == 0 else COMMON

    def _nearest(self, question: NDArray[np.float32], kind: str | None) -> set[uuid.UUID]:
        step = 1 if kind is None else 10
        best = np.argpartition(-(self.memories[::step] @ question), K)[:K] * step
        return {self.ids[number] for number in best.tolist()}


def read(options: argparse.Namespace, size: int) -> Corpus:
    from memories.embeddings.wordllama import WordLlamaEmbedder

    def vectors(texts: list[str]) -> NDArray[np.float32]:
        found = np.concatenate([WordLlamaEmbedder().embed(texts[at : at + 1000]) for at in range(0, len(texts), 1000)])
        lengths = np.linalg.norm(found, axis=1, keepdims=True)
        usable: NDArray[np.float32] = (found / np.maximum(lengths, 1e-9))[lengths[:, 0] > 0]
        return usable

    texts = list(dict.fromkeys(options.texts.read_text().splitlines()))
    questions = options.questions.read_text().splitlines() if options.questions else texts[::100]
    memories = texts if options.questions else [text for number, text in enumerate(texts) if number % 100]
    if len(memories) < size:
        raise SystemExit(f"--texts contains {len(memories)} different texts; {size} are needed")
    return Corpus(vectors(memories[:size]), vectors(questions[:QUESTIONS]))


def report(name: str, index: VectorIndex, processes: list[int], corpus: Corpus) -> None:
    fill(index, corpus)
    figures = "".join(searched(index, processes, corpus, kind) for kind in (None, RARE))
    print(f"  {name:10}{figures}   add {added(index, processes, corpus):6.3f} ms CPU", flush=True)


def point(corpus: Corpus, number: int) -> Point:
    from memories.index.base import Point

    return Point(corpus.ids[number], 1, "default", corpus.kind(number), corpus.memories[number])


def fill(index: VectorIndex, corpus: Corpus) -> None:
    """Add all memories, and wait until the engine has indexed them."""
    for start in range(0, len(corpus.ids), BATCH):
        numbers = range(start, min(start + BATCH, len(corpus.ids)))
        index.upsert(TENANT, [point(corpus, number) for number in numbers])
    settle(index)


def added(index: VectorIndex, processes: list[int], corpus: Corpus) -> float:
    """Overwrite some memories, one at a time, and return the CPU time per memory in milliseconds."""
    began = cpu.used_s(processes)
    for number in range(BATCH):
        index.upsert(TENANT, [point(corpus, number)])
    return (cpu.used_s(processes) - began) * 1000 / BATCH


def settle(index: VectorIndex) -> None:
    from memories.index.milvus.index import MilvusIndex
    from memories.index.pgvector.index import PgvectorIndex

    if isinstance(index, PgvectorIndex):
        index.maintain()
    if isinstance(index, MilvusIndex):
        index._client.vendor.flush(index._collection.name)
        while index._client.vendor.describe_index(index._collection.name, "vector").get("pending_index_rows"):
            time.sleep(1)
        time.sleep(STALE_S)


def searched(index: VectorIndex, processes: list[int], corpus: Corpus, kind: str | None) -> str:
    from memories.index.base import Where

    hits, took_ms, began = [], [], cpu.used_s(processes)
    for question in corpus.questions:
        started = time.perf_counter()
        hits.append({hit.id for hit in index.search(TENANT, question, Where(("default",), kind), K)})
        took_ms.append((time.perf_counter() - started) * 1000)
    used_ms = (cpu.used_s(processes) - began) * 1000 / len(hits)
    right = sum(len(one & true) for one, true in zip(hits, corpus.nearest[kind], strict=True)) / (K * len(hits))
    return f"   recall {right:.4f} {statistics.median(took_ms):7.2f} ms {used_ms:7.2f} CPU"


@contextmanager
def local(dimension: int) -> Iterator[tuple[VectorIndex, list[int]]]:
    from memories.index.local.index import LocalIndex

    with tempfile.TemporaryDirectory(prefix="soma-engines-") as folder:
        yield LocalIndex(pathlib.Path(folder), "benchmark", dimension), [os.getpid()]


@contextmanager
def pgvector(dimension: int) -> Iterator[tuple[VectorIndex, list[int]]]:
    from django.db import connection

    from memories.index.pgvector.index import PgvectorIndex

    index = PgvectorIndex("benchmark", dimension)
    index.drop()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        postmaster = cpu.parent_of(cursor.fetchone()[0])
    yield index, [os.getpid(), postmaster]
    index.drop()


@contextmanager
def milvus(dimension: int) -> Iterator[tuple[VectorIndex, list[int]]]:
    from memories.index.milvus.client import Connection
    from memories.index.milvus.index import MilvusIndex

    index = MilvusIndex(Connection(os.environ["SOMA_TEST_MILVUS_URI"], search_timeout_s=30), "benchmark", dimension)
    index.drop()
    yield index, [os.getppid()]  # the process that started the server, and this one
    index.drop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=pathlib.Path, required=True)
    parser.add_argument("--questions", type=pathlib.Path)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--database", default="", help="URL of a PostgreSQL server with pgvector")
    options = parser.parse_args()
    if options.database:
        os.environ["SOMA_DATABASE_URL"] = options.database
    django.setup()
    engines: dict[str, Callable[[int], AbstractContextManager[tuple[VectorIndex, list[int]]]]] = {"local": local}
    engines |= {"pgvector": pgvector} if options.database else {}
    engines |= {"milvus": milvus} if "SOMA_TEST_MILVUS_URI" in os.environ else {}
    for size in options.sizes:
        corpus = read(options, size)
        print(
            f"\n{len(corpus.memories):,} memories, {len(corpus.questions)} questions; then with a filter for one in ten"
        )
        for name, engine in engines.items():
            with engine(corpus.memories.shape[1]) as (index, processes):
                report(name, index, processes, corpus)


if __name__ == "__main__":
    main()
