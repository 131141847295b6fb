"""Embed texts by feature hashing (Weinberger et al., arXiv 0902.2206), without a model. Vectors can have any length.

It is meant for tests and for machines that cannot run a model. It compares words, not their meanings: "car" is as far
from "automobile" as it is from "tea". A search's keyword leg compares words, too.
"""

from __future__ import annotations

import hashlib
import struct
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from memories.embeddings.base import Vectors
from memories.search import analyzer

DIMENSION = 512


class HashingEmbedder:
    """Embeds a text by adding +1 or -1 at a few positions per term, and scales the vector to length 1.

    The term's hash determines the positions and signs. A repeated term counts logarithmically.
    """

    provider = "hashing"
    model = "terms-1"
    in_process = True

    def __init__(self, dimension: int = DIMENSION) -> None:
        self.dimension = dimension

    def embed(self, texts: Sequence[str]) -> Vectors:
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        for row, text in zip(vectors, texts, strict=True):
            for term, count in Counter(analyzer.terms(text)).items():
                for number in _hashes(term):
                    row[(number >> 1) % self.dimension] += (1 if number & 1 else -1) * (1 + np.log(count))
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        vectors /= np.maximum(norms, np.float32(1e-30))
        return vectors


@lru_cache(maxsize=50_000)
def _hashes(term: str) -> tuple[int, ...]:
    """Return four numbers for a term, each of which determines a position and a sign.

    With only one position per term and 64 dimensions, one in 128 pairs of terms would cancel out.
    """
    return struct.unpack("<4H", hashlib.blake2b(term.encode(), digest_size=8).digest())
