"""The bundled model: vectors do not depend on the batch, and memory use is bounded."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from memories import embeddings
from memories.embeddings import wordllama
from somamemory import deadline
from somamemory.errors import DeadlineExceeded

TEXTS = ["coffee", "", "naïve café", "漢字" * 50, "a longer text about coffee and tea"]


def test_a_text_has_the_same_vector_in_a_batch_and_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    embedder = embeddings.made("wordllama")
    together = embedder.embed(TEXTS)
    monkeypatch.setattr(wordllama, "MAX_TEXTS", 2)
    monkeypatch.setattr(wordllama, "TOKENS", 3)

    assert np.allclose(together, [embedder.embed([text])[0] for text in TEXTS], atol=1e-6)
    assert np.allclose(together, embedder.embed(TEXTS), atol=1e-6)


def test_a_vector_has_length_1_or_is_zero() -> None:
    lengths = np.linalg.norm(embeddings.made("wordllama").embed(TEXTS), axis=1)

    assert np.allclose(lengths, [1, 0, 1, 1, 1])


def test_a_batch_of_long_texts_takes_little_memory() -> None:
    embedder = embeddings.made("wordllama")
    embedder.embed(["coffee"])
    tracemalloc.start()
    try:
        embedder.embed(["漢字" * 16_000] * 8)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak < 30_000_000


def test_embedding_stops_at_the_deadline() -> None:
    embedder = embeddings.made("wordllama")

    with deadline.within(0), pytest.raises(DeadlineExceeded):
        embedder.embed(["coffee"])
