"""Create the vector index with the engine that SOMA_VECTOR_INDEX selects. Only that engine is imported."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.conf import settings

from memories.index.base import VectorIndex

if TYPE_CHECKING:
    from memories.models import EmbeddingGeneration

LOCAL, PGVECTOR, MILVUS = "local", "pgvector", "milvus"


def create(generation: EmbeddingGeneration) -> VectorIndex:
    """Return the index for a generation's vectors. It does not connect or open any files until its first call."""
    if settings.VECTOR_INDEX == MILVUS:
        return _milvus(generation)
    if settings.VECTOR_INDEX == PGVECTOR:
        return _pgvector(generation)
    return _local(generation)


def _local(generation: EmbeddingGeneration) -> VectorIndex:
    from memories.index.local.index import LocalIndex

    return LocalIndex(settings.VECTOR_FOLDER, generation.collection, generation.dimension)


def _pgvector(generation: EmbeddingGeneration) -> VectorIndex:
    from memories.index.pgvector.index import PgvectorIndex

    return PgvectorIndex(generation.collection, generation.dimension)


def _milvus(generation: EmbeddingGeneration) -> VectorIndex:
    from memories.index.milvus.client import Connection
    from memories.index.milvus.collection import Hnsw
    from memories.index.milvus.index import MilvusIndex

    return MilvusIndex(
        Connection(
            uri=settings.MILVUS_URI,
            token=settings.MILVUS_TOKEN,
            ca=settings.MILVUS_CA,
            timeout_s=settings.MILVUS_TIMEOUT_S,
            search_timeout_s=settings.MILVUS_SEARCH_TIMEOUT_S,
        ),
        generation.collection,
        generation.dimension,
        hnsw=Hnsw(settings.MILVUS_HNSW_M, settings.MILVUS_HNSW_EF_CONSTRUCTION, settings.MILVUS_HNSW_EF),
    )
