"""Embedding generations.

Searches use the active generation. Writes go to the active generation and to any generation that is being built. Each
process caches the generations for `GENERATION_CACHE_S`, so some processes may keep using the previous ones for that
long. `index.rebuild` waits for them.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import partial

from cachetools import TTLCache
from django.conf import settings
from django.db import IntegrityError, transaction

from memories import embeddings, index
from memories.embeddings.base import Embedder
from memories.models import EmbeddingGeneration
from somamemory.errors import ConfigurationError
from somamemory.installation import COMMAND

State = EmbeddingGeneration.State

_cache: TTLCache[str, list[EmbeddingGeneration]] = TTLCache(maxsize=1, ttl=settings.GENERATION_CACHE_S)
_lock = threading.Lock()


def active() -> EmbeddingGeneration:
    """Return the active generation, creating it from the settings if there is none yet."""
    return written()[0]


def written() -> Sequence[EmbeddingGeneration]:
    """Return the generations that every write must update: the active one first, then any that are being built."""
    try:
        with _lock:
            return _cache["written"]  # `_cache.get` would make three times as many function calls
    except KeyError:
        found = in_use() or [_create()]
        # Cache the generations only after the commit, because a new one may still be rolled back.
        transaction.on_commit(partial(_remember, found))
        return found


def in_use() -> list[EmbeddingGeneration]:
    """Return the same generations as `written`, but always from the database. Empty before the first start.

    Also closes the indexes of generations that have been removed. Otherwise, this process would keep their deleted
    files open, which would use up file descriptors and disk space.
    """
    rows = list(EmbeddingGeneration.objects.order_by("created_at"))
    index.close_all_but(row.collection for row in rows)
    found = [row for row in rows if row.state != State.RETIRED]
    return sorted(found, key=lambda row: row.state != State.ACTIVE)


def alike(one: EmbeddingGeneration, other: EmbeddingGeneration | Embedder) -> bool:
    """Return whether two generations, or a generation and an embedder, create vectors that can be compared."""
    return (one.provider, one.model, one.dimension) == (other.provider, other.model, other.dimension)


def begin(embedder: Embedder) -> EmbeddingGeneration:
    """Create a generation in the `building` state."""
    made = _new(embedder, State.BUILDING)
    made.save(force_insert=True)
    forget_cached()
    return made


def switch_to(generation: EmbeddingGeneration) -> None:
    """Make this generation the active one and retire the previous one, in a single transaction."""
    rows = EmbeddingGeneration.objects
    with transaction.atomic():
        rows.filter(state=State.ACTIVE).exclude(id=generation.id).update(state=State.RETIRED)
        rows.filter(id=generation.id, state=State.BUILDING).update(state=State.ACTIVE)
    forget_cached()


def retire_unfinished() -> None:
    """Retire the generation that is being built, if there is one."""
    EmbeddingGeneration.objects.filter(state=State.BUILDING).update(state=State.RETIRED)
    forget_cached()


def check_settings() -> None:
    """Raise ConfigurationError if vectors from the configured embedder cannot be compared with the stored ones."""
    embedder, stored = embeddings.current(), active()
    if not alike(stored, embedder):
        raise ConfigurationError(
            f"the stored vectors come from {stored}, but the settings name "
            f"{embedder.provider}/{embedder.model} ({embedder.dimension}): "
            f"set SOMA_EMBEDDING_PROVIDER={stored.provider}, SOMA_EMBEDDING_MODEL={stored.model} and "
            f"SOMA_EMBEDDING_DIMENSION={stored.dimension}; then, to switch without downtime, run "
            f"{COMMAND} reembed --provider {embedder.provider} --model {embedder.model} "
            f"--dimension {embedder.dimension}"
        )


def forget_cached() -> None:
    with _lock:
        _cache.clear()


def _remember(found: list[EmbeddingGeneration]) -> None:
    with _lock:
        _cache["written"] = found


def _create() -> EmbeddingGeneration:
    made = _new(embeddings.current(), State.ACTIVE)
    try:
        with transaction.atomic():
            made.save(force_insert=True)
    except IntegrityError:  # another process created it first; the unique constraint allows only one active generation
        return EmbeddingGeneration.objects.get(state=State.ACTIVE)
    return made


def _new(embedder: Embedder, state: State) -> EmbeddingGeneration:
    made = EmbeddingGeneration(
        provider=embedder.provider, model=embedder.model, dimension=embedder.dimension, state=state
    )
    made.collection = f"{settings.MILVUS_PREFIX}_{made.id.hex[:12]}"
    return made
