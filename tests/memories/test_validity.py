"""The validity, source and trust of memories."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memories import filters
from memories.models import Memory
from tests.conftest import Api, problem_of

pytestmark = pytest.mark.django_db

PAST, FUTURE = "2001-01-01T00:00:00Z", "2999-01-01T00:00:00Z"


def hits(api: Api, **fields: Any) -> list[str]:
    return sorted(memory["coord"] for memory in api.search("tea", mode="keyword", **fields))


def listed(api: Api, query: str = "") -> list[str]:
    return [memory["coord"] for memory in api.get(f"/memories?{query}").json()["items"]]


@pytest.fixture
def three(api: Api) -> Api:
    """Memories that were valid, are valid now, and will be valid."""
    api.store("1", "tea", valid_from="2000-01-01T00:00:00Z", valid_to=PAST)
    api.store("2", "tea", valid_from=PAST)
    api.store("3", "tea", valid_from=FUTURE)
    return api


def test_a_memory_is_returned_with_its_writers_statements(api: Api) -> None:
    source = {"kind": "conversation", "id": "c1", "turn": 3}
    api.store("1", "x", valid_from=PAST, valid_to=FUTURE, source=source, trust=0.5)

    memory = api.get("/memories/1").json()["memory"]

    assert (memory["valid_from"], memory["valid_to"]) == (PAST, FUTURE)
    assert (memory["source"], memory["trust"]) == (source, 0.5)


def test_a_patch_replaces_a_source_and_null_removes_it(api: Api) -> None:
    api.store("1", "x", source={"kind": "import"}, trust=1)

    assert api.patch("/memories/1", {"source": "ada"}).json()["memory"]["source"] == "ada"
    cleared = api.patch("/memories/1", {"source": None, "trust": None}).json()["memory"]

    assert (cleared["source"], cleared["trust"]) == (None, None)


def test_search_returns_memories_that_are_valid_now(three: Api) -> None:
    assert hits(three) == ["2.0"]


def test_search_returns_memories_that_are_valid_at_a_given_time(three: Api) -> None:
    assert hits(three, valid_at="2000-06-01T00:00:00Z") == ["1.0"]


def test_search_can_include_memories_that_are_not_valid(three: Api) -> None:
    assert hits(three, include_superseded=True) == ["1.0", "2.0", "3.0"]


def test_the_end_is_the_first_moment_at_which_a_memory_does_not_hold(three: Api) -> None:
    assert hits(three, valid_at=PAST) == ["2.0"]


def test_a_list_shows_all_and_can_be_filtered(three: Api) -> None:
    assert listed(three) == ["1.0", "2.0", "3.0"]
    assert listed(three, "valid_at=2000-06-01T00:00:00Z") == ["1.0"]


@pytest.mark.parametrize("end", [PAST, "2000-01-01T00:00:00Z"])
def test_a_memory_that_would_never_be_valid_is_rejected(api: Api, end: str) -> None:
    problem = api.post("/memories", {"coord": "1", "payload": {}, "valid_from": PAST, "valid_to": end})

    assert problem_of(problem, 422)["errors"][0]["field"] == "valid_to"
    assert listed(api) == []


def test_a_patch_that_would_end_a_memory_before_it_begins_is_refused(api: Api) -> None:
    api.store("1", "x", valid_from=PAST)

    problem_of(api.patch("/memories/1", {"valid_to": "2000-01-01T00:00:00Z"}), 422)

    assert api.get("/memories/1").json()["memory"]["version"] == 1


def test_a_moment_and_everything_cannot_be_combined(api: Api) -> None:
    body = {"query": "tea", "valid_at": PAST, "include_superseded": True}

    problem_of(api.post("/memories/search", body), 422)


@pytest.mark.parametrize("bad", [{"source": ""}, {"source": "x" * 1001}, {"source": {"a": "x" * 5000}}, {"trust": 2}])
def test_a_source_or_a_trust_out_of_bounds_is_refused(api: Api, bad: dict[str, Any]) -> None:
    problem = problem_of(api.post("/memories", {"coord": "1", "payload": {}, **bad}), 422)

    assert problem["errors"][0]["field"].startswith(next(iter(bad)))


SOURCES: list[Any] = [None, "ada", "import", {"kind": "import", "turn": 3}, {"kind": "agent"}, {"a": {"b": "deep"}}]


@pytest.mark.parametrize(
    ("condition", "expected"),
    [({"source.items.0": "x"}, [0]), ({"source.items.-1": {"exists": True}}, []), ({"source.größe": "xl"}, [1])],
)
def test_a_filter_compares_the_keys_of_a_source_and_never_list_positions(
    api: Api, condition: dict[str, Any], expected: list[int]
) -> None:
    for n, source in enumerate([{"items": {"0": "x"}}, {"items": ["x"], "größe": "xl"}]):
        api.post("/memories", {"payload": {"n": n}, "source": source})

    matching = Memory.objects.for_tenant(api.tenant).filter(filters.to_q(filters.parse(condition)))

    assert [row.payload["n"] for row in matching] == expected


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ({"source": "ada"}, [1]),
        ({"source": {"in": ["ada", "import"]}}, [1, 2]),
        ({"source": {"exists": False}}, [0]),
        ({"source": {"ne": "ada"}}, [2, 3, 4, 5]),
        ({"source.kind": "import"}, [3]),
        ({"source.kind": {"exists": True}}, [3, 4]),
        ({"source.turn": "3"}, []),
        ({"source.turn": {"exists": True}}, [3]),
        ({"source.a.b": "deep"}, [5]),
        ({"NOT": [{"source.kind": "import"}]}, [0, 1, 2, 4, 5]),
        ({"OR": [{"source.kind": "agent"}, {"n": 1}]}, [1, 4]),
        ({"trust": {"gte": 0.2}}, [2, 3, 4, 5]),
        ({"trust": {"exists": False}}, [0]),
        ({"NOT": [{"trust": {"lt": 0.4}}]}, [0, 4, 5]),
        ({"valid_from": {"exists": True}}, []),
        ({"NOT": [{"valid_to": {"gt": PAST}}]}, [0, 1, 2, 3, 4, 5]),
    ],
)
def test_filters_compare_source_and_trust(api: Api, condition: dict[str, Any], expected: list[int]) -> None:
    for n, source in enumerate(SOURCES):
        api.post("/memories", {"coord": f"{n}", "payload": {"n": n}, "source": source, "trust": n / 10 if n else None})

    matching = Memory.objects.for_tenant(api.tenant).filter(filters.to_q(filters.parse(condition)))

    assert sorted(row.payload["n"] for row in matching) == expected


@given(name=st.sampled_from(['"', "\\", "a'b", "a__contains", "$", "ä", "*", "[0]"]))
def test_a_field_of_a_source_may_have_any_name(name: str) -> None:
    if name in ('"', "\\"):
        with pytest.raises(Exception, match="must not contain"):
            filters.parse({f"source.{name}": "x"})
        return
    rows = Memory.all_tenants.filter(filters.to_q(filters.parse({f"source.{name}": "x"})))

    assert list(rows) == []
