"""Vectors of texts that were embedded before, kept in the cache by model and text."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence

import numpy as np
from django.core.cache import cache

from memories.embeddings.base import Embedder, Vectors

LIFETIME_S = 7 * 24 * 3600


class CachedEmbedder:
    """Around an embedder that is slower than the cache (one behind a network)."""

    def __init__(self, inner: Embedder) -> None:
        self._inner = inner
        self.provider, self.model, self.dimension = inner.provider, inner.model, inner.dimension

    def embed(self, texts: Sequence[str]) -> Vectors:
        keys = [self._key(text) for text in texts]
        known = {key: self._decode(value) for key, value in cache.get_many(set(keys)).items()}
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        if missing:
            fresh = dict(zip(missing, self._inner.embed(list(missing.values())), strict=True))
            cache.set_many({key: self._encode(vector) for key, vector in fresh.items()}, LIFETIME_S)
            known |= fresh
        return np.stack([known[key] for key in keys])

    def _key(self, text: str) -> str:
        name = "\0".join((self.provider, self.model, str(self.dimension), text))
        return "embedding:1:" + hashlib.sha256(name.encode()).hexdigest()

    def _encode(self, vector: Vectors) -> str:
        return base64.b64encode(vector.astype("<f4").tobytes()).decode()

    def _decode(self, text: str) -> Vectors:
        return np.frombuffer(base64.b64decode(text), dtype="<f4")
