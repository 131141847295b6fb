"""The vector index, and the one that the settings choose."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from django.conf import settings

from memories.index.base import VectorIndex

if TYPE_CHECKING:
    from memories.models import EmbeddingGeneration

_open: dict[str, VectorIndex] = {}
_lock = threading.Lock()


def of(generation: EmbeddingGeneration) -> VectorIndex:
    """The index that holds a generation; one client a process and collection, made on first use (after the fork)."""
    with _lock:
        if generation.collection not in _open:
            from memories.index.milvus import MilvusIndex

            _open[generation.collection] = MilvusIndex(
                uri=settings.MILVUS_URI,
                token=settings.MILVUS_TOKEN,
                collection=generation.collection,
                dimension=generation.dimension,
                timeout_s=settings.MILVUS_TIMEOUT_S,
            )
        return _open[generation.collection]


def close_all() -> None:
    """Let go of every client, so that another process may open the data."""
    with _lock:
        for index in _open.values():
            index.close()
        _open.clear()
