"""Embedders, and the one that the settings choose."""

from __future__ import annotations

from functools import lru_cache

from django.conf import settings

from memories.embeddings.base import Embedder
from somamemory.errors import ConfigurationError


@lru_cache(maxsize=1)
def current() -> Embedder:
    """The embedder of the settings. Raises ConfigurationError."""
    if settings.EMBEDDING_PROVIDER == "wordllama":
        from memories.embeddings.wordllama import WordLlamaEmbedder

        return _checked(WordLlamaEmbedder())
    if settings.EMBEDDING_PROVIDER == "openai":
        from memories.embeddings.cache import CachedEmbedder
        from memories.embeddings.openai import OpenAIEmbedder

        return CachedEmbedder(
            OpenAIEmbedder(
                model=settings.EMBEDDING_MODEL,
                dimension=settings.EMBEDDING_DIMENSION,
                base_url=settings.EMBEDDING_BASE_URL,
                api_key=settings.EMBEDDING_API_KEY,
                timeout_s=settings.EMBEDDING_TIMEOUT_S,
            )
        )
    raise ConfigurationError(
        f"SOMA_EMBEDDING_PROVIDER is '{settings.EMBEDDING_PROVIDER}'; it can be wordllama or openai"
    )


def _checked(embedder: Embedder) -> Embedder:
    """Refuse settings that contradict a model whose name and size are fixed."""
    if settings.EMBEDDING_MODEL not in ("", embedder.model):
        raise ConfigurationError(f"{embedder.provider} has one model, '{embedder.model}'; unset SOMA_EMBEDDING_MODEL")
    if settings.EMBEDDING_DIMENSION not in (0, embedder.dimension):
        raise ConfigurationError(
            f"{embedder.provider} makes vectors of {embedder.dimension} numbers; "
            f"SOMA_EMBEDDING_DIMENSION says {settings.EMBEDDING_DIMENSION}. Unset it"
        )
    return embedder
