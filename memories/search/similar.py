"""Find the memories whose vectors are most similar to that of a given memory."""

from __future__ import annotations

import numpy as np

from memories.embeddings.base import Vectors
from memories.index import generations
from memories.index.base import usable
from memories.models import Memory
from memories.search import hybrid
from memories.search.hybrid import SEMANTIC, Search
from memories.search.scoring import Stats
from tenants.caller import Caller

_NO_WORDS = Stats(documents=0, average_length=0.0, frequency={})


def similar(caller: Caller, memory: Memory, count: int) -> list[tuple[Memory, float]] | None:
    """Return the `count` nearest memories in the same namespace, each with its cosine similarity, nearest first.

    Only memories that a search would return are included, and only if their similarity is greater than 0. Returns None
    if the memory has no vector. The memories do not count as read.

    Raises IndexUnavailable if the index does not respond.
    """
    vector = _vector(memory)
    if vector is None:
        return None
    query = Search(
        "",
        namespaces=(memory.namespace,),
        mode=SEMANTIC,
        top_k=count + 1,
        weights={"semantic": 1.0},
        stats=_NO_WORDS,
        vector=vector,
        shown=False,
    )
    hits = [(hit.memory, hit.score) for hit in hybrid.search(caller, query).hits]
    return [(row, score) for row, score in hits if row.id != memory.id][:count]


def _vector(memory: Memory) -> Vectors | None:
    """Return the memory's vector in the active generation, or None if there is no usable one."""
    rows = memory.embeddings.filter(generation=generations.active())
    stored = rows.exclude(vector=None).values_list("vector", flat=True).first()
    if not stored:
        return None
    vector = np.frombuffer(bytes(stored), dtype="<f4")
    return vector if usable(vector) else None
