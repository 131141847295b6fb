"""The texts, vectors and queries for the comparison, and the exact nearest neighbours of each query."""

from __future__ import annotations

import json
import pathlib
from collections import Counter
from collections.abc import Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from benchmarks.embedded import texts as made_up_texts

GROUPS = 20  # a filter for one group selects 5% of the memories
QUERIES = 200
QUERY_WORDS = 6
FREQUENT_SHARE = 0.2  # SomaMemory does not use more frequent words in a query's vector
_QUERY_BLOCK = 50
_EMBED_AT_ONCE = 1_000


def write(folder: pathlib.Path, source: Sequence[str] | None, memories: int, extra: int) -> None:
    """Write `texts.json` and `vectors.npz`: memories, texts to store during the measurement, and queries."""
    wanted = memories + extra
    texts = list(source or islice(made_up_texts(seed=1), wanted))[:wanted]
    if len(texts) < wanted:
        raise SystemExit(f"--texts contains {len(texts)} texts; {wanted} are needed")
    queries = _queries(texts)
    vectors, asked = embed(texts), embed(queries)
    best, best_in_group = exact(vectors[:memories], asked)
    document = {"memories": texts[:memories], "extra": texts[memories:], "queries": queries}
    (folder / "texts.json").write_text(json.dumps(document))
    np.savez(
        folder / "vectors.npz",
        memories=vectors[:memories],
        extra=vectors[memories:],
        queries=asked,
        best=best,
        best_in_group=best_in_group,
    )


def embed(texts: Sequence[str]) -> NDArray[np.float32]:
    """Return unit vectors from the model bundled with SomaMemory."""
    from memories.embeddings.wordllama import WordLlamaEmbedder

    embedder = WordLlamaEmbedder()
    parts = [embedder.embed(texts[at : at + _EMBED_AT_ONCE]) for at in range(0, len(texts), _EMBED_AT_ONCE)]
    return np.concatenate(parts)


def exact(memories: NDArray[np.float32], queries: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]:
    """Return the similarity of the tenth nearest memory to each query, among all memories and in the query's group."""
    best, best_in_group = [], []
    groups = np.arange(len(memories)) % GROUPS
    for at in range(0, len(queries), _QUERY_BLOCK):
        similarities = queries[at : at + _QUERY_BLOCK] @ memories.T
        best.append(_tenth(similarities))
        for number, row in enumerate(similarities, start=at):
            best_in_group.append(_tenth(row[groups == number % GROUPS][None])[0])
    return np.concatenate(best), np.array(best_in_group, dtype=np.float32)


def _tenth(similarities: NDArray[np.float32]) -> NDArray[np.float32]:
    tenth: NDArray[np.float32] = np.partition(similarities, -10, axis=1)[:, -10]
    return tenth


def _queries(texts: Sequence[str]) -> list[str]:
    """Return queries that combine words from different texts. Frequent words are excluded."""
    count = Counter(word for text in texts for word in set(text.split()))
    frequent = {word for word, number in count.items() if number > len(texts) * FREQUENT_SHARE}
    queries = []
    for text in texts[:: max(1, len(texts) // (2 * QUERIES))]:
        words = [word for word in text.split() if word not in frequent][:QUERY_WORDS]
        if len(words) == QUERY_WORDS:
            queries.append(" ".join(words))
    return queries[:QUERIES]
