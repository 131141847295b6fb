"""The vector index: one client per process and collection, created from the settings."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import connections

from memories.index import engines
from memories.index.base import VectorIndex
from somamemory.errors import ConfigurationError, SomaError

if TYPE_CHECKING:
    from memories.models import EmbeddingGeneration

_open: dict[str, VectorIndex] = {}
_lock = threading.Lock()


def of(generation: EmbeddingGeneration) -> VectorIndex:
    """Return the index for a generation. Its client is created on first use, after the process has forked."""
    with _lock:
        if generation.collection not in _open:
            _open[generation.collection] = engines.create(generation)
        return _open[generation.collection]


def try_out(generation: EmbeddingGeneration) -> None:
    """Raise an error if a short check finds that the index is unusable.

    A Milvus server that is recovering from a crash accepts connections but needs half a minute to load a collection.
    Startup does not wait that long for it.
    """
    errors: list[Exception] = []

    def ping() -> None:
        try:
            of(generation).ping()
        except (SomaError, ConfigurationError) as error:
            errors.append(error)
        finally:
            connections.close_all()  # closes this thread's database connections

    thread = threading.Thread(target=ping, name="soma-index-try-out", daemon=True)
    thread.start()
    thread.join(settings.MILVUS_SEARCH_TIMEOUT_S)
    if errors:
        raise errors[0]


def drop(generation: EmbeddingGeneration) -> None:
    """Delete a generation's collection. Does nothing if it does not exist."""
    of(generation).drop()
    with _lock:
        _open.pop(generation.collection, None)


def close_all_but(collections: Iterable[str]) -> None:
    """Close the clients of all other collections, which another process may have deleted.

    Running searches finish with the files that they have open.
    """
    with _lock:
        closing = [_open.pop(name) for name in _open.keys() - set(collections)]
    for index in closing:
        index.close()


def close_all() -> None:
    """Close every client, for example before the process exits."""
    with _lock:
        for index in _open.values():
            index.close()
        _open.clear()
