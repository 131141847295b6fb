"""Searches with a filter on metadata return the same memories, whether the index or the database is asked first."""

from __future__ import annotations

import random
from typing import Any

import pytest

from memories.search import query, semantic
from tests.conftest import Api, drain

NEVER, ALWAYS = 10**9, 1
SHARES = {"half": 2, "few": 10, "one": 60}  # one memory of this number has the tag


@pytest.fixture
def stored(api: Api, monkeypatch: pytest.MonkeyPatch) -> Api:
    chance = random.Random(5)
    words = ["coffee", "tea", "train", "ticket", "garden", "winter", "letter", "river"]
    items = [
        {
            "coord": str(number),
            "payload": {"text": " ".join(chance.choices(words, k=6))},
            "metadata": {name: number % share == 0 for name, share in SHARES.items()},
        }
        for number in range(60)
    ]
    assert api.post("/memories/bulk", {"items": items}).status_code == 200
    drain()
    monkeypatch.setattr(query, "POOLS", (4, 200))
    monkeypatch.setattr(semantic, "_SAMPLE", 1)
    return api


def found(api: Api, tag: str, **options: Any) -> list[tuple[str, float]]:
    hits = api.search(query="a coffee in the garden", top_k=2, filters={f"metadata.{tag}": True}, **options)
    return [(hit["coord"], hit["score"]) for hit in hits]


@pytest.mark.parametrize("mode", ["semantic", "hybrid"])
@pytest.mark.parametrize("scanned", [0, ALWAYS, NEVER], ids=["more hits", "cheapest", "scan"])
@pytest.mark.parametrize("tag", SHARES)
def test_examining_the_nearest_memories_first_finds_what_a_scan_finds(
    stored: Api, monkeypatch: pytest.MonkeyPatch, tag: str, scanned: int, mode: str
) -> None:
    monkeypatch.setattr(semantic, "SAMPLED_FROM", NEVER)
    expected = found(stored, tag, mode=mode)

    monkeypatch.setattr(semantic, "SAMPLED_FROM", 1)
    monkeypatch.setattr(semantic, "_SCANNED", scanned)

    assert expected
    assert found(stored, tag, mode=mode) == expected


def test_a_scan_that_finds_too_many_memories_goes_on_with_more_hits(
    stored: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = found(stored, "few", mode="semantic")
    monkeypatch.setattr(semantic, "SAMPLED_FROM", 1)
    monkeypatch.setattr(semantic, "_SCANNED", NEVER)
    monkeypatch.setattr(semantic, "EXACT", 1)

    assert found(stored, "few", mode="semantic") == expected


def test_a_common_tag_needs_no_scan(stored: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(semantic, "SAMPLED_FROM", 1)
    monkeypatch.setattr(semantic, "_SAMPLE", 4)
    monkeypatch.setattr(semantic, "_few", lambda leg: pytest.fail("searched for all memories that pass"))

    assert len(found(stored, "half", mode="semantic")) == 2
