"""Searches with a filter on metadata return the same memories, whether the index or the database is queried first."""

from __future__ import annotations

import random
from typing import Any
from uuid import UUID

import pytest

from memories.filters import fields, parse
from memories.index.base import Hit
from memories.index.local.index import LocalIndex
from memories.search import query, selection, semantic
from tests.conftest import POSTGRESQL, Api, drain

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
    """Search with a filter that no SQLite index can apply."""
    return hits(api, {f"metadata.{tag}": {"ne": False}}, **options)


def hits(api: Api, filters: Any, **options: Any) -> list[tuple[str, float]]:
    found = api.search(filters=filters, **{"query": "a coffee in the garden", "top_k": 2, **options})
    return [(hit["coord"], hit["score"]) for hit in found]


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


LONG = "x" * 65
FILTERS = [
    *({f"metadata.{tag}": value} for tag in SHARES for value in (True, False)),
    {"metadata.few": {"in": [True, None, "true", 1]}},
    {"metadata.few": True, "metadata.half": {"in": [True, False]}},
    {"OR": [{"metadata.few": True}, {"metadata.one": True}]},
    {"OR": [{"metadata.one": True}, {"metadata.few": {"ne": False}}]},
    {"AND": [{"metadata.half": True}, {"NOT": [{"metadata.few": True}]}]},
    {"metadata.nothing": None},
    {"text": LONG},
]


@pytest.mark.parametrize("mode", ["semantic", "hybrid", "keyword"])
@pytest.mark.parametrize("top_k", [2, 50])
@pytest.mark.parametrize("filters", FILTERS, ids=str)
def test_the_index_of_fields_finds_what_a_scan_finds(
    stored: Api, monkeypatch: pytest.MonkeyPatch, filters: Any, top_k: int, mode: str
) -> None:
    with_index = hits(stored, filters, mode=mode, top_k=top_k)
    with monkeypatch.context() as patch:
        patch.setattr(semantic, "EXACT", 1)
        not_all_counted = hits(stored, filters, mode=mode, top_k=top_k)
        patch.setattr(semantic, "_COMPARED_PER_HIT", 0)
        with_more_hits = hits(stored, filters, mode=mode, top_k=top_k)

    monkeypatch.setattr(selection, "clauses", lambda filter: ())

    assert hits(stored, filters, mode=mode, top_k=top_k) == with_index == not_all_counted == with_more_hits


@pytest.mark.skipif(POSTGRESQL, reason="the fields are in SQLite's full-text index")
@pytest.mark.parametrize("tag", SHARES)
def test_the_index_compares_only_memories_with_a_common_field(
    stored: Api, monkeypatch: pytest.MonkeyPatch, tag: str
) -> None:
    monkeypatch.setattr(LocalIndex, "search", lambda *given, **options: pytest.fail("scanned the index"))
    monkeypatch.setattr(semantic, "_few", lambda *given, **options: pytest.fail("read every memory with the field"))

    assert hits(stored, {f"metadata.{tag}": True}, mode="semantic")


@pytest.mark.skipif(POSTGRESQL, reason="the fields are in SQLite's full-text index")
def test_more_of_the_memories_with_a_common_field_are_confirmed_if_too_few_pass(
    stored: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: list[int] = []
    compare = LocalIndex.nearest_of

    def noted(self: LocalIndex, tenant: UUID, ids: Any, vector: Any, limit: int) -> list[Hit]:
        limits.append(limit)
        return compare(self, tenant, ids, vector, limit)

    monkeypatch.setattr(LocalIndex, "nearest_of", noted)
    monkeypatch.setattr(semantic, "_SCANNED", 0)

    assert hits(stored, {"metadata.half": True, "metadata.one": {"ne": False}}, mode="semantic")
    assert limits[0] < limits[-1]


def test_a_search_finds_changed_fields_at_once(api: Api) -> None:
    chance = random.Random(7)
    expected: dict[str, Any] = {}
    for _ in range(60):
        coord, tag = f"{chance.randrange(8)}.0", chance.choice(["a", "b", 1, 1.0, True, None, LONG, ["a"]])
        match chance.choice(["store", "patch", "delete"]):
            case "delete" if coord in expected:
                api.delete(f"/memories/{coord}?purge={chance.choice(['true', 'false'])}")
                del expected[coord]
            case "patch" if coord in expected:
                assert api.patch(f"/memories/{coord}", {"metadata": {"tag": tag}}).status_code == 200
                expected[coord] = tag
            case _:
                api.store(coord, "tea", metadata={"tag": tag})
                expected[coord] = tag
        if chance.random() < 0.3:
            drain()
        for wanted in ("a", 1, True, None, LONG):
            filters = {"metadata.tag": wanted}
            of_keyword = {coord for coord, _ in hits(api, filters, mode="keyword", query="tea", top_k=50)}
            of_meaning = hits(api, filters, mode="semantic", query="tea", top_k=50, consistency="strong")
            same = {at for at, value in expected.items() if value == wanted and type(value) in kinds(wanted)}
            assert of_keyword == {coord for coord, _ in of_meaning} == same


def kinds(value: Any) -> set[type]:
    return {int, float} if type(value) in (int, float) else {type(value)}


def test_a_large_document_is_found_by_its_fields(api: Api) -> None:
    api.post("/memories", {"coord": "1", "payload": {"text": "tea"}, "metadata": {"tag": "a", "rest": "x" * 70_000}})
    api.post("/memories", {"coord": "2", "payload": {"text": "tea"}, "metadata": {"tag": "b"}})
    drain()

    assert [coord for coord, _ in hits(api, {"metadata.tag": "a"}, query="tea")] == ["1.0"]


@pytest.mark.parametrize("filters", FILTERS[:8], ids=str)
def test_the_terms_of_a_filter_are_few(filters: Any) -> None:
    found = fields.clauses(parse(filters))
    assert 0 < len(found) <= 20


def test_a_filter_with_many_values_has_no_terms() -> None:
    assert not fields.clauses(parse({"metadata.tag": {"in": [str(number) for number in range(100)]}}))
    many = {"in": [str(number) for number in range(10)]}
    assert len(fields.clauses(parse({"metadata.a": many, "metadata.b": many, "metadata.c": 1}))) <= 20
