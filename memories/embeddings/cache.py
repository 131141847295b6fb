"""A cache of vectors, keyed by model and text."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence

import numpy as np

from memories.embeddings.base import Embedder, Vectors
from somamemory import caching
from somamemory.telemetry import metrics

LIFETIME_S = 7 * 24 * 3600
Parts = tuple[object, ...]


class CachedEmbedder:
    """Wraps an embedder that is slower than the cache, such as a remote one, and caches its vectors.

    Tenants share the cached vectors, because a vector depends only on the text and the model.
    """

    def __init__(self, inner: Embedder) -> None:
        self._inner = inner
        self.provider, self.model, self.dimension = inner.provider, inner.model, inner.dimension
        self.in_process = inner.in_process

    def embed(self, texts: Sequence[str]) -> Vectors:
        parts = [self._parts(text) for text in texts]
        known = self._known(set(parts))
        missing = {part: text for part, text in zip(parts, texts, strict=True) if part not in known}
        metrics.embedding_cache.labels("hit").inc(len(parts) - len(missing))
        metrics.embedding_cache.labels("miss").inc(len(missing))
        if missing:
            fresh = dict(zip(missing, self._inner.embed(list(missing.values())), strict=True))
            written = {part: _encode(vector) for part, vector in fresh.items()}
            caching.set_many(None, "embedding", written, LIFETIME_S)
            known |= fresh
        return np.stack([known[part] for part in parts])

    def _known(self, parts: set[Parts]) -> dict[Parts, Vectors]:
        entries = caching.get_many(None, "embedding", parts)
        vectors = {part: _decode(value) for part, value in entries.items()}
        return {part: vector for part, vector in vectors.items() if len(vector) == self.dimension}

    def _parts(self, text: str) -> Parts:
        digest = hashlib.sha256(text.encode()).hexdigest()
        return self.provider, self.model, self.dimension, digest


def _encode(vector: Vectors) -> str:
    return base64.b64encode(vector.astype("<f4").tobytes()).decode()


def _decode(text: str) -> Vectors:
    return np.frombuffer(base64.b64decode(text), dtype="<f4")
