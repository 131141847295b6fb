"""The map: every memory is counted in exactly one cell, with the same result on both engines."""

from __future__ import annotations

import math
from functools import partial
from itertools import groupby
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memories import coordinates, density_map, services
from memories.models import Memory
from memories.new_memory import NewMemory
from memories.selectors import Narrowing
from tenants.caller import Caller
from tests.conftest import Api, problem_of


def lay(caller: Caller, *places: str, **fields: Any) -> None:
    services.store_many(caller, [NewMemory(coordinates.parse(place), {"text": place}, **fields) for place in places])


def ask(api: Api, query: str) -> dict[str, Any]:
    response = api.get(f"/memories/map{query}")
    assert response.status_code == 200, response.content
    answer: dict[str, Any] = response.json()
    return answer


def cells(answer: dict[str, Any]) -> dict[Any, int]:
    return {cell.get("coord", (cell.get("column"), cell.get("row"))): cell["count"] for cell in answer["cells"]}


def test_places_count_everything_below_them(api: Api, caller: Caller) -> None:
    lay(caller, "1", "1,2", "1,2,3", "1,4", "-2,1", "7,7,7")

    assert cells(ask(api, "")) == {"-2.0": 1, "1.0": 4, "7.0": 1}
    assert cells(ask(api, "?depth=2")) == {"-2.0,1.0": 1, "1.0,2.0": 2, "1.0,4.0": 1, "7.0,7.0": 1}
    assert cells(ask(api, "?prefix=1")) == {"1.0,2.0": 2, "1.0,4.0": 1}
    assert cells(ask(api, "?prefix=1,2,3")) == {}


def test_places_come_in_pages_that_lose_none(api: Api, caller: Caller) -> None:
    lay(caller, *(f"{a},{b}" for a in range(7) for b in range(3)))

    seen: list[str] = []
    query = "?limit=3"
    while True:
        answer = ask(api, query)
        seen += [cell["coord"] for cell in answer["cells"]]
        if answer["next_cursor"] is None:
            break
        query = f"?limit=3&cursor={answer['next_cursor']}"

    assert seen == [f"{number}.0" for number in range(7)]


def test_a_grid_counts_each_memory_once_and_gives_the_bounds(api: Api, caller: Caller) -> None:
    lay(caller, "0,0", "10,10", "10,0", "4.9,5", "5,5", "3")

    answer = ask(api, "?axes=0,1&resolution=2")

    assert (answer["low"], answer["high"]) == ([0.0, 0.0], [10.0, 10.0])
    assert cells(answer) == {(0, 0): 1, (0, 1): 1, (1, 0): 1, (1, 1): 2}
    assert (answer["total"], answer["elsewhere"]) == (5, 1)
    assert {memory["coord"] for memory in answer["memories"]} == {
        "0.0,0.0",
        "10.0,10.0",
        "10.0,0.0",
        "4.9,5.0",
        "5.0,5.0",
    }


def test_a_grid_has_any_two_axes_or_one(api: Api, caller: Caller) -> None:
    lay(caller, "0,9,1", "0,8,2", "0,7,9")

    assert cells(ask(api, "?axes=2,1&resolution=2")) == {(0, 1): 2, (1, 0): 1}
    assert cells(ask(api, "?axes=2&resolution=8")) == {(0, 0): 1, (1, 0): 1, (7, 0): 1}
    assert cells(ask(api, "?axes=0,1&resolution=3")) == {(2, 0): 1, (2, 1): 1, (2, 2): 1}


def test_importance_is_the_mean_and_the_greatest(api: Api, caller: Caller) -> None:
    lay(caller, "1,1", importance=2)
    lay(caller, "1,2", importance=5)

    (cell,) = ask(api, "")["cells"]

    assert (cell["importance"], cell["max_importance"]) == (3.5, 5.0)


def test_deleted_expired_and_filtered_memories_are_not_on_the_map(api: Api, caller: Caller) -> None:
    lay(caller, "1", "2")
    lay(caller, "3", memory_type="semantic")
    lay(caller, "4", namespace="n")
    api.delete("/memories/2")

    assert cells(ask(api, "")) == {"1.0": 1, "3.0": 1}
    assert cells(ask(api, "?memory_type=semantic")) == {"3.0": 1}
    assert cells(ask(api, "?namespace=n&axes=0")) == {(47, 0): 1}
    assert ask(api, "?namespace=nothing&axes=0")["low"] == []


def test_many_memories_are_cells_only(api: Api, caller: Caller) -> None:
    lay(caller, *(f"{n},0" for n in range(density_map.SINGLE + 1)))

    assert ask(api, "?axes=0,1")["memories"] is None
    assert len(ask(api, "?axes=0,1&box=1,0;9,1")["memories"]) == 9


def test_the_limit_of_a_map_applies_to_its_region(api: Api, caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    lay(caller, *(f"{n},0" for n in range(10)))
    monkeypatch.setattr(density_map, "FEW", 1)
    monkeypatch.setattr(density_map, "MAX_COUNTED", 5)

    assert ask(api, "?axes=0,1&box=0,0;3,1")["total"] == 4
    problem_of(api.get("/memories/map?axes=0,1&box=0,0;8,1"), 422, "row_budget_exceeded")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("?axes=x", "axes"), ("?axes=0,0", "axes"), ("?axes=32", "axes"), ("?axes=0,1,2", "axes"), ("?axes=-1", "axes"),
        ("?box=0,0;1,1", "axes"), ("?resolution=4", "axes"), ("?axes=0,1&depth=1", "axes"), ("?axes=0&limit=5", "axes"),
        ("?axes=0,1&box=0;1", "box"), ("?axes=0&resolution=0", "resolution"), ("?axes=0&resolution=129", "resolution"),
        ("?depth=0", "depth"), ("?depth=33", "depth"), ("?prefix=1&depth=32", "depth"), ("?cursor=x", "cursor"),
    ],
)  # fmt: skip
def test_an_invalid_query_is_rejected(api: Api, query: str, field: str) -> None:
    problem_of(api.get(f"/memories/map{query}"), 422, "invalid_input", field)


NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
SMALL = st.integers(-3, 3).map(float)


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    points=st.lists(st.lists(SMALL | NUMBERS, min_size=1, max_size=3), min_size=1, max_size=12, unique_by=tuple),
    corners=st.tuples(SMALL | NUMBERS, SMALL | NUMBERS, SMALL | NUMBERS, SMALL | NUMBERS),
    resolution=st.integers(1, 9),
)
def test_cells_and_places_are_what_a_count_by_hand_says(
    caller: Caller, points: list[list[float]], corners: tuple[float, ...], resolution: int
) -> None:
    Memory.objects.for_tenant(caller.tenant).delete()
    services.store_many(caller, [NewMemory(coordinates.of(point), {}) for point in points])
    low, high = (
        [min(corners[0], corners[1]), min(corners[2], corners[3])],
        [max(corners[0], corners[1]), max(corners[2], corners[3])],
    )
    points = [[number + 0.0 for number in point] for point in points]

    def part(number: float, axis: int) -> int:
        least, most = low[axis], high[axis]
        edges = sorted(
            min(most, max(least, least * (1 - n / resolution) + most * (n / resolution))) for n in range(resolution)
        )
        return sum(edge <= number for edge in edges) - 1

    inside = [
        point for point in points if len(point) > 1 and all(low[axis] <= point[axis] <= high[axis] for axis in (0, 1))
    ]
    grid = partial(density_map.grid, caller, "default", Narrowing(), (0, 1), resolution=resolution)
    found = grid(region=(low, high))
    with patch.object(density_map, "FEW", -1):  # cuts the region out of all memories
        assert grid(region=(low, high)).cells == found.cells

    wanted = sorted((part(point[0], 0), part(point[1], 1)) for point in inside)
    assert [(cell.column, cell.row, cell.count) for cell in found.cells] == [
        (*key, len(list(group))) for key, group in groupby(wanted)
    ]
    assert found.total == len(inside)
    below = sorted(point[:2] for point in points if len(point) > 1)
    assert [
        (list(cell.place.numbers), cell.count)
        for cell in density_map.places(caller, "default", Narrowing(), 2).cells
        if cell.place
    ] == [(key, len(list(group))) for key, group in groupby(below)]
    whole = density_map.grid(caller, "default", Narrowing(), (0, 1), resolution=resolution)
    assert sum(cell.count for cell in whole.cells) == sum(len(point) > 1 for point in points)
    assert all(math.isfinite(bound) for bound in [*whole.low, *whole.high])
