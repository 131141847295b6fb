"""Which embedding generation is in use."""

from __future__ import annotations

import threading
from functools import partial

from cachetools import TTLCache
from django.db import IntegrityError, transaction

from memories import embeddings
from memories.models import EmbeddingGeneration
from somamemory.errors import ConfigurationError

_cache: TTLCache[str, EmbeddingGeneration] = TTLCache(maxsize=1, ttl=5)
_lock = threading.Lock()


def active() -> EmbeddingGeneration:
    """The generation that is searched; made from the settings when there is none yet."""
    with _lock:
        found = _cache.get("active")
    if found is None:
        found = _active() or _create()
        # Not before the commit: what is rolled back must not be remembered.
        transaction.on_commit(partial(_remember, found))
    return found


def _remember(generation: EmbeddingGeneration) -> None:
    with _lock:
        _cache["active"] = generation


def check_settings() -> None:
    """Refuse settings whose vectors would not fit those that are stored. Raises ConfigurationError."""
    embedder, stored = embeddings.current(), active()
    chosen = (embedder.provider, embedder.model, embedder.dimension)
    if chosen != (stored.provider, stored.model, stored.dimension):
        raise ConfigurationError(
            f"the stored vectors were made by {stored}, but the settings say "
            f"{embedder.provider}/{embedder.model} ({embedder.dimension}): "
            f"set SOMA_EMBEDDING_PROVIDER, _MODEL and _DIMENSION back, or use another database"
        )


def forget_cached() -> None:
    with _lock:
        _cache.clear()


def _active() -> EmbeddingGeneration | None:
    return EmbeddingGeneration.objects.filter(state=EmbeddingGeneration.State.ACTIVE).first()


def _create() -> EmbeddingGeneration:
    embedder = embeddings.current()
    made = EmbeddingGeneration(
        provider=embedder.provider,
        model=embedder.model,
        dimension=embedder.dimension,
        state=EmbeddingGeneration.State.ACTIVE,
    )
    made.collection = f"memories_{made.id.hex[:12]}"
    try:
        with transaction.atomic():
            made.save(force_insert=True)
    except IntegrityError:  # another process was first; the unique constraint allows one active generation
        return EmbeddingGeneration.objects.get(state=EmbeddingGeneration.State.ACTIVE)
    return made
