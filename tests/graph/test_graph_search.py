"""Links as a source for search: memories linked to the best hits are added if they pass every filter."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from graph import search_expansion
from memories.search import hybrid
from memories.search.expansion import MAX_SEEDS
from tests.conftest import Api, drain, problem_of

QUERY = "aardvark"


@pytest.fixture
def linked(api: Api) -> Api:
    """1 answers the query. 1 links to 2, 2 links to 3, and 4 links to 1. 5 has no links."""
    api.store("1", "the aardvark sleeps", importance=8)
    for n, text in enumerate(["a cathedral of stone", "bread from an oven", "the bicycle is red", "rain and wind"], 2):
        api.store(str(n), text, importance=n, memory_type="semantic" if n == 2 else "episodic")
    for start, end, kind, strength in (("1", "2", "a", 1.0), ("2", "3", "a", 0.5), ("4", "1", "b", 0.5)):
        link(api, start, end, kind, strength)
    drain()
    return api


def link(api: Api, start: str, end: str, kind: str = "related", strength: float = 1.0, **more: Any) -> None:
    body = {"from_coord": start, "to_coord": end, "link_type": kind, "strength": strength, **more}
    assert api.post("/graph/link", body).status_code == 200


def found(api: Api, mode: str = "keyword", **fields: Any) -> list[str]:
    return [hit["coord"] for hit in api.search(QUERY, mode=mode, **fields)]


def test_memories_linked_to_hits_join_the_results(linked: Api) -> None:
    assert found(linked) == ["1.0"]
    assert found(linked, expand={}) == ["1.0", "2.0", "4.0"]
    assert found(linked, expand={"hops": 2}) == ["1.0", "2.0", "4.0", "3.0"]


@pytest.mark.parametrize("mode", ["hybrid", "semantic", "keyword"])
def test_each_mode_can_be_expanded(linked: Api, mode: str) -> None:
    plain = linked.search(QUERY, mode=mode, explain=True)
    expanded = linked.search(QUERY, mode=mode, expand={"hops": 2}, explain=True)

    assert {hit["coord"] for hit in plain} | {"2.0", "3.0", "4.0"} <= {hit["coord"] for hit in expanded}
    assert all("graph" not in hit["scores"] for hit in plain)
    assert all(0 < hit["score"] <= 1 for hit in expanded)
    assert [hit["score"] for hit in expanded] == sorted((hit["score"] for hit in expanded), reverse=True)


def test_a_score_is_damped_by_hops_and_strength_and_explained(linked: Api) -> None:
    [hit] = linked.search(QUERY, mode="keyword")
    expanded = linked.search(QUERY, mode="keyword", expand={"hops": 2, "weight": 0.5}, explain=True)

    graph = {hit["coord"]: hit["scores"]["graph"] for hit in expanded}
    share = {"1.0": 0.0, "2.0": 0.5, "3.0": 0.125, "4.0": 0.25}
    assert graph == pytest.approx({coord: strength * hit["score"] for coord, strength in share.items()}, abs=1e-5)
    for found in expanded:  # keyword counts 1 in this mode
        parts = found["scores"]["keyword"] + 0.5 * found["scores"]["graph"]
        assert found["score"] == pytest.approx(parts / 1.5, abs=1e-5)


def test_a_linked_memory_keeps_its_own_scores(linked: Api) -> None:
    """Its semantic and keyword scores are the same as if a search had found it."""
    wide = {hit["coord"]: hit["scores"] for hit in linked.search("cathedral bread", explain=True, top_k=50)}
    narrow = {
        hit["coord"]: hit["scores"] for hit in linked.search("cathedral bread", explain=True, top_k=50, expand={})
    }

    for coord, scores in wide.items():
        assert {name: score for name, score in narrow[coord].items() if name != "graph"} == pytest.approx(
            scores, abs=1e-5
        )


def test_links_of_the_requested_types_are_followed(linked: Api) -> None:
    assert found(linked, expand={"link_type": "b"}) == ["1.0", "4.0"]
    assert found(linked, expand={"link_type": ["a", "b"]}) == ["1.0", "2.0", "4.0"]
    assert found(linked, expand={"link_type": "c"}) == ["1.0"]


@pytest.mark.parametrize(
    ("narrowing", "expected"),
    [
        ({"filters": {"importance": {"gte": 4}}}, ["1.0", "4.0"]),
        ({"filters": {"NOT": [{"text": {"icontains": "cathedral"}}]}}, ["1.0", "4.0"]),
        ({"memory_type": "episodic"}, ["1.0", "4.0"]),
        ({"near": "1", "radius": 1.5}, ["1.0", "2.0"]),
        ({"prefix": "1"}, ["1.0"]),
    ],
)
def test_no_filter_is_passed_by(linked: Api, narrowing: dict[str, Any], expected: list[str]) -> None:
    assert found(linked, expand={}, **narrowing) == expected


def test_deleted_expired_and_foreign_memories_do_not_join(linked: Api, stranger: Api) -> None:
    linked.store("6", "snow", namespace="n")
    stranger.store("6", "snow")
    link(linked, "1", "6")
    link(linked, "1", "7", namespace="n")
    linked.store("7", "fog")
    linked.delete("/memories/2")
    link(linked, "1", "5", valid_to="2020-01-01T00:00:00Z")

    assert found(linked, expand={}) == ["1.0", "4.0"]


def test_each_namespace_is_expanded_along_its_own_links(linked: Api) -> None:
    linked.store("1", "another aardvark", namespace="n")
    linked.store("9", "snow", namespace="n")
    linked.store("9", "fog")
    link(linked, "1", "9", namespace="n")

    hits = linked.search(QUERY, mode="keyword", namespace=["default", "n"], expand={})

    assert {(hit["namespace"], hit["coord"]) for hit in hits} == {
        ("default", "1.0"), ("default", "2.0"), ("default", "4.0"), ("n", "1.0"), ("n", "9.0"),
    }  # fmt: skip


def test_the_least_score_and_the_page_hold_for_all(linked: Api) -> None:
    every = linked.search(QUERY, mode="keyword", expand={"hops": 2})

    least = every[1]["score"] - 1e-6  # it has been rounded

    assert linked.search(QUERY, mode="keyword", expand={"hops": 2}, min_score=least) == every[:2]
    pages = [linked.search(QUERY, mode="keyword", expand={"hops": 2}, top_k=1, offset=n)[0] for n in range(4)]
    assert pages == every


def test_pages_come_from_one_order_for_any_number_of_hits(api: Api) -> None:
    items = [{"coord": [1, n], "payload": {"text": "aardvark " * (n % 3 + 1) + f"word{n}"}} for n in range(30)]
    items += [{"coord": [2, n], "payload": {"text": f"other{n}"}} for n in range(30)]
    api.post("/memories/bulk", {"items": items})
    links = [{"from_coord": [1, n], "to_coord": [2, n]} for n in range(30)]
    api.post("/graph/links/bulk", {"links": links})

    every = found(api, expand={}, top_k=60)
    pages = [coord for at in range(0, 60, 7) for coord in found(api, expand={}, top_k=7, offset=at)]

    assert every == pages
    assert len(every) == 30 + MAX_SEEDS


def test_an_expansion_takes_a_constant_number_of_statements(api: Api) -> None:
    def statements() -> int:
        with CaptureQueriesContext(connection) as captured:
            assert len(api.search(QUERY, mode="keyword", expand={"hops": 2}, top_k=200)) > 3
        return len(captured)

    def fill(start: int, count: int) -> None:
        ends = range(start, start + count)
        items = [{"coord": [1, n], "payload": {"text": f"aardvark {n}"}} for n in ends]
        items += [{"coord": [hop, n], "payload": {"text": f"snow {n}"}} for n in ends for hop in (2, 3)]
        api.post("/memories/bulk", {"items": items})
        links = [{"from_coord": [hop, n], "to_coord": [hop + 1, n]} for n in ends for hop in (1, 2)]
        api.post("/graph/links/bulk", {"links": links})

    fill(0, 3)
    statements()  # fill the process's caches first
    few = statements()
    fill(10, 20)

    assert statements() == few <= 12


def test_too_many_links_are_named_in_the_answer(linked: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    body = {"query": QUERY, "mode": "keyword", "expand": {}}
    assert linked.post("/memories/search", body).json()["degraded"] == []

    monkeypatch.setattr(search_expansion, "MAX_READ", 1)
    assert linked.post("/memories/search", body).json()["degraded"] == ["graph"]


def test_a_search_without_expansion_does_not_use_the_graph(linked: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def called(*_: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(hybrid, "_expand", called)

    assert found(linked) == ["1.0"]


@pytest.mark.parametrize(
    ("field", "expand"),
    [
        ("expand.hops", {"hops": 0}),
        ("expand.hops", {"hops": 4}),
        ("expand.hops", {"hops": True}),
        ("expand.weight", {"weight": 0}),
        ("expand.weight", {"weight": 1.1}),
        ("expand.link_type", {"link_type": ""}),
        ("expand.link_type", {"link_type": []}),
        ("expand.depth", {"depth": 1}),
        ("expand", []),
    ],
)
def test_a_wrong_expansion_is_refused(api: Api, field: str, expand: Any) -> None:
    problem_of(api.post("/memories/search", {"query": QUERY, "expand": expand}), 422, field=field)
