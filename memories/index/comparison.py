"""Compare the search results of two embedding generations for the same questions."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

from memories import embeddings, index, payloads
from memories.index.base import Where, usable
from memories.models import EmbeddingGeneration, Memory, VectorEmbedding
from somamemory.errors import ConfigurationError, Unavailable

SAMPLE = 100
K = 10
WORDS = 8  # the number of words at the beginning of a memory that make up a question
DEADLINE_S = 30.0


def of(old: EmbeddingGeneration, new: EmbeddingGeneration, renew: Callable[[], object]) -> dict[str, Any]:
    """Compare two generations, and return {questions, k, agreement, known_item_old, known_item_new}.

    A question is the beginning of a memory.

    questions: the number of questions that were compared.
    k: the number of hits that were compared for each question.
    agreement: the fraction of the new generation's first `k` hits that the old generation also finds.
    known_item_old, known_item_new: the fraction of questions for which the first `k` hits include the memory itself.

    The last three values are from 0 to 1, or None if there are no questions. If the `old` index is lost, it counts as
    having found nothing. `renew` is called after each question, to extend a lease.
    """
    questions = old_right = new_right = 0
    agreeing = 0.0
    until = time.monotonic() + DEADLINE_S
    for memory in _sample(new):
        question = " ".join(payloads.text_of(memory.payload).split()[:WORDS])
        found_new = _found(new, memory, question)
        if found_new is None:
            continue
        found_old = _found(old, memory, question) or set()
        questions += 1
        agreeing += len(found_old & found_new) / max(1, len(found_new)) if found_new else 0
        old_right += memory.id in found_old
        new_right += memory.id in found_new
        renew()
        if time.monotonic() > until:
            break
    shares = (agreeing, old_right, new_right) if questions else (None, None, None)
    names = ("agreement", "known_item_old", "known_item_new")
    return {"questions": questions, "k": K} | {
        name: None if share is None else round(share / questions, 3) for name, share in zip(names, shares, strict=True)
    }


def _sample(generation: EmbeddingGeneration) -> list[Memory]:
    """Return a random sample of the memories in the generation's index, spread over all of its rows."""
    rows = VectorEmbedding.all_tenants.filter(generation=generation, indexed_version__isnull=False)
    first, last = rows.order_by("id").first(), rows.order_by("-id").first()
    if first is None or last is None:
        return []
    picked: set[UUID] = set()
    for _ in range(SAMPLE):
        row = rows.filter(id__gte=random.randint(first.id, last.id)).order_by("id").defer("vector").first()
        if row is not None:
            picked.add(row.memory_id)
    return list(Memory.all_tenants.filter(id__among=picked, deleted_at=None))


def _found(generation: EmbeddingGeneration, memory: Memory, question: str) -> set[UUID] | None:
    try:
        vector = embeddings.of(generation).embed([question])[0]
        if not usable(vector):
            return None
        hits = index.of(generation).search(memory.tenant_id, vector, Where((memory.namespace,)), K)
    except (Unavailable, ConfigurationError):
        return None
    return {hit.id for hit in hits}
