"""Lists: their content, their order, and complete pages."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memories import coordinates, selectors
from memories.coordinates import Ball
from memories.models import Memory
from memories.selectors import ORDERS, Narrowing
from somamemory.cursors import list_id
from tests.conftest import Api, problem_of

BASE = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)


def page(api: Api, **query: Any) -> dict[str, Any]:
    """Return one page of a list, and expect success."""
    response = api.get("/memories?" + urlencode(query))
    assert response.status_code == 200, response.content
    found: dict[str, Any] = response.json()
    return found


def listed(api: Api, **query: Any) -> list[str]:
    """Return the coordinates in a list. The list must fit into one page."""
    found = page(api, limit=1000, **query)
    assert found["next_cursor"] is None
    return [item["coord"] for item in found["items"]]


def pages(api: Api, limit: int, **query: Any) -> list[list[str]]:
    """Return the coordinates of each page, following the cursors."""
    found: list[list[str]] = []
    cursor: dict[str, str] = {}
    while True:
        each = page(api, limit=limit, **query, **cursor)
        found.append([item["coord"] for item in each["items"]])
        if each["next_cursor"] is None:
            return found
        cursor = {"cursor": each["next_cursor"]}


def store_all(api: Api, coords: Sequence[str | list[float]], **fields: Any) -> None:
    items = [{"coord": coord, "payload": {}, **fields} for coord in coords]
    assert api.post("/memories/bulk", {"items": items}).status_code == 200


def set_times(api: Api, **times: Sequence[int]) -> None:
    """Give the memories, in the order of their coordinates, these times in seconds after BASE."""
    rows = list(Memory.objects.for_tenant(api.tenant).order_by("coordinate_key"))
    for column, seconds in times.items():
        for row, second in zip(rows, seconds, strict=True):
            setattr(row, column, BASE + timedelta(seconds=second))
    Memory.objects.for_tenant(api.tenant).bulk_update(rows, list(times))


# --- Content of a list -------------------------------------------------------------------------------------------


def test_an_empty_list_is_an_answer(api: Api) -> None:
    assert page(api) == {"items": [], "next_cursor": None}


def test_a_list_is_in_the_order_of_its_numbers(api: Api) -> None:
    store_all(api, ["10", "9", "-1", "-10", "0", "1e-5", "9,0", "9,-1", "1e300", "-1e300"])

    expected = ["-1e+300", "-10.0", "-1.0", "0.0", "1e-05", "9.0", "9.0,-1.0", "9.0,0.0", "10.0", "1e+300"]
    assert listed(api) == expected
    assert listed(api, order="-coordinate") == expected[::-1]


def test_a_list_holds_one_namespace(api: Api) -> None:
    store_all(api, ["1"], namespace="a")
    store_all(api, ["2"], namespace="b")

    assert listed(api, namespace="a") == ["1.0"]
    assert listed(api) == []


def test_an_item_has_every_field_of_a_fetched_memory(api: Api) -> None:
    api.store("1", "hello")

    assert page(api)["items"] == [api.get("/memories/1").json()["memory"]]


def test_a_prefix_is_the_subtree_with_its_root(api: Api) -> None:
    store_all(api, ["1", "1,2", "1,2,3", "1,2,-3", "1,20", "1,2.5", "12", "2,1,2"])

    assert listed(api, prefix="1,2") == ["1.0,2.0", "1.0,2.0,-3.0", "1.0,2.0,3.0"]
    assert listed(api, prefix="3") == []


@pytest.mark.parametrize("word", ["memory_type"])
def test_a_type_narrows_a_list(api: Api, word: str) -> None:
    store_all(api, ["1"], memory_type="semantic")
    store_all(api, ["2"])

    assert listed(api, **{word: "semantic"}) == ["1.0"]


def test_deleted_memories_are_listed_only_on_request(api: Api) -> None:
    store_all(api, ["1", "2"])
    api.delete("/memories/1")

    assert listed(api) == ["2.0"]
    items = page(api, include_deleted="true")["items"]
    assert [("deleted_at" in item, item["coord"]) for item in items] == [(True, "1.0"), (False, "2.0")]


def test_expired_memories_are_listed_only_on_request(api: Api) -> None:
    store_all(api, ["1", "2"])
    Memory.objects.for_tenant(api.tenant).filter(coordinate_key__startswith="bff").update(
        expires_at=timezone.now() - timedelta(seconds=1)
    )

    assert listed(api) == ["2.0"]
    assert listed(api, include_deleted="true") == ["1.0", "2.0"]


def test_times_are_bounds_that_are_not_met(api: Api) -> None:
    store_all(api, ["1", "2", "3"])
    set_times(api, created_at=[0, 10, 20], updated_at=[5, 15, 25])

    def at(second: int) -> str:
        return (BASE + timedelta(seconds=second)).isoformat()

    assert listed(api, created_after=at(0)) == ["2.0", "3.0"]
    assert listed(api, created_before=at(20)) == ["1.0", "2.0"]
    assert listed(api, created_after=at(0), created_before=at(20)) == ["2.0"]
    assert listed(api, updated_after=at(15)) == ["3.0"]


def test_a_time_may_be_given_in_any_zone(api: Api) -> None:
    store_all(api, ["1", "2"])
    set_times(api, created_at=[0, 1])

    assert listed(api, created_after="2026-01-31T13:00:00.5+01:00") == ["2.0"]
    assert listed(api, created_after="2026-01-31t12:00:00z") == ["2.0"]


def test_all_conditions_apply_together(api: Api) -> None:
    store_all(api, ["1,1", "1,2", "2,1"])
    store_all(api, ["1,3"], memory_type="semantic")
    set_times(api, created_at=[0, 10, 20, 30])

    query = {"prefix": "1", "memory_type": "episodic", "created_after": "2026-01-31T12:00:05Z"}
    assert listed(api, **query) == ["1.0,2.0"]
    assert listed(api, **query, box="0,0;1,1") == []
    assert listed(api, **query, near="1,2", radius=0) == ["1.0,2.0"]


# --- Boxes and balls ---------------------------------------------------------------------------------------------


def test_a_box_holds_its_corners_and_only_its_own_dimension(api: Api) -> None:
    store_all(api, ["0,0", "1,1", "0.5,0.5", "0,1.0001", "-1e-300,0", "0.5", "0.5,0.5,0.5"])

    assert listed(api, box="0,0;1,1") == ["0.0,0.0", "0.5,0.5", "1.0,1.0"]


def test_the_corners_of_a_box_may_come_in_any_order(api: Api) -> None:
    store_all(api, ["-1,2", "0,0", "3,-3"])

    assert listed(api, box="1,-1;-1,1") == ["0.0,0.0"]
    assert listed(api, box="-1,1;1,-1") == ["0.0,0.0"]


@pytest.mark.parametrize("box", ["", "1,1", "0,0;1", "0,0;1,1;2,2", "a;b", "0,nan;1,1", ";"])
def test_a_bad_box_is_refused(api: Api, box: str) -> None:
    problem_of(api.get("/memories?" + urlencode({"box": box})), 400, "invalid_coordinate")


def test_near_memories_are_sorted_by_their_distance(api: Api) -> None:
    store_all(api, ["0,0", "3,4", "0,5", "1,0", "5.1,0", "0", "0,0,0"])

    items = page(api, near="0,0", radius=5)["items"]

    assert [(item["coord"], item["distance"]) for item in items] == [
        ("0.0,0.0", 0.0),
        ("1.0,0.0", 1.0),
        ("0.0,5.0", 5.0),
        ("3.0,4.0", 5.0),
    ]


def test_a_ball_of_radius_nothing_is_a_point(api: Api) -> None:
    store_all(api, ["1,2", "1,2.0000001"])

    assert listed(api, near="1,2", radius=0) == ["1.0,2.0"]


def test_a_ball_may_be_as_large_as_the_space(api: Api) -> None:
    store_all(api, ["1e99", "-1e99", "1e308", "0"])

    assert listed(api, near="0", radius="1e100") == ["0.0", "-1e+99", "1e+99"]


def test_deleted_memories_are_near_only_on_request(api: Api) -> None:
    store_all(api, ["1", "2"])
    api.delete("/memories/1")

    assert listed(api, near="1", radius=5) == ["2.0"]
    assert listed(api, near="1", radius=5, include_deleted="true") == ["1.0", "2.0"]


def test_a_ball_with_too_many_memories_is_refused_not_cut(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selectors, "MAX_NEAR", 2)
    store_all(api, ["1", "2", "3"])

    problem_of(api.get("/memories?near=1&radius=9"), 422, field="radius")
    assert listed(api, near="1", radius=1) == ["1.0", "2.0"]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"near": "1"}, "radius"),
        ({"radius": "1"}, "near"),
        ({"near": "1", "radius": "-1"}, "radius"),
        ({"near": "1", "radius": "nan"}, "radius"),
        ({"near": "1", "radius": "inf"}, "radius"),
        ({"near": "1", "radius": "1e101"}, "radius"),
        ({"near": "1", "radius": "x"}, "radius"),
        ({"near": "1", "radius": ""}, "radius"),
        ({"near": "1", "radius": "1", "order": "created_at"}, "order"),
    ],
)
def test_a_bad_ball_is_refused(api: Api, query: dict[str, str], field: str) -> None:
    problem_of(api.get("/memories?" + urlencode(query)), 422, field=field)


# --- Pages -------------------------------------------------------------------------------------------------------

grid = st.sampled_from([-1.5, -1.0, 0.0, 0.5, 1.0, 2.0])
coordinates_2d = st.lists(st.tuples(grid, grid).map(list), min_size=0, max_size=12, unique_by=tuple)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    coords=coordinates_2d,
    order=st.sampled_from(ORDERS),
    limit=st.integers(1, 5),
    times=st.lists(st.integers(0, 2), min_size=12, max_size=12),
)
def test_pages_joined_are_the_whole_list_in_order(
    api: Api, coords: list[list[float]], order: str, limit: int, times: list[int]
) -> None:
    Memory.objects.for_tenant(api.tenant).delete()
    if coords:
        store_all(api, coords)
    seconds = times[: len(coords)]
    set_times(api, created_at=seconds, updated_at=seconds[::-1])
    column = order.lstrip("-")

    found = pages(api, limit, order=order)
    joined = [coord for page in found for coord in page]

    assert all(len(page) == limit for page in found[:-1])
    assert sorted(joined) == sorted(",".join(map(repr, map(float, coord))) for coord in coords)
    values = [
        item["coordinate"] if column == "coordinate" else item[column]
        for item in page(api, order=order, limit=1000)["items"]
    ]
    assert values == sorted(values, reverse=order.startswith("-"))
    assert joined == listed(api, order=order)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(coords=coordinates_2d, centre=st.tuples(grid, grid), radius=st.floats(0, 4), limit=st.integers(1, 5))
def test_the_pages_of_a_ball_contain_all_near_memories_by_distance(
    api: Api, coords: list[list[float]], centre: tuple[float, float], radius: float, limit: int
) -> None:
    Memory.objects.for_tenant(api.tenant).delete()
    if coords:
        store_all(api, coords)
    near = ",".join(map(repr, centre))

    joined = [coord for page in pages(api, limit, near=near, radius=f"{radius:.17f}") for coord in page]

    inside = [coord for coord in coords if math.dist(coord, centre) <= float(f"{radius:.17f}")]
    inside.sort(key=lambda coord: (math.dist(coord, centre), coord))
    assert joined == [",".join(map(repr, map(float, coord))) for coord in inside]


def test_a_page_continues_after_the_last_one_despite_concurrent_writes(api: Api) -> None:
    store_all(api, ["1", "3", "5", "7"])
    first = page(api, limit=2)
    store_all(api, ["2", "6"])
    api.delete("/memories/5")

    rest = page(api, limit=10, cursor=first["next_cursor"])

    assert [item["coord"] for item in rest["items"]] == ["6.0", "7.0"]


def test_a_full_last_page_has_no_next_cursor(api: Api) -> None:
    store_all(api, ["1", "2"])

    assert page(api, limit=2)["next_cursor"] is None
    assert page(api, limit=2, near="1", radius=5)["next_cursor"] is None


def test_a_page_has_fifty_items_by_default(api: Api) -> None:
    store_all(api, [[number] for number in range(51)])

    found = page(api)

    assert len(found["items"]) == 50
    assert found["next_cursor"]


@pytest.mark.parametrize("limit", ["0", "-1", "1001", "9" * 30, "1.5", "1e2", "x", "", "1_0", " 1", "0x1", "\u0661"])
def test_a_limit_out_of_bounds_is_refused(api: Api, limit: str) -> None:
    problem_of(api.get("/memories?" + urlencode({"limit": limit})), 422, field="limit")


def cursor(position: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(position).encode()).decode()


KEY = "bff0000000000000"  # of the coordinate 1
UP, DOWN, TIME = (
    list_id("default", Narrowing(), False, order) for order in ("coordinate", "-coordinate", "created_at")
)
NEAR = list_id("default", Narrowing(ball=Ball(coordinates.parse("1"), 5.0)), False)
RAW_CURSORS = [
    *["x", "!", "%", "e30", "\u00e9", b"\xed\xa0\x80", "A" * 2048, "A" * 2049, "A" * 5000, "bnVsbA"],
    base64.urlsafe_b64encode(b"[" * 1000).decode(),
    base64.urlsafe_b64encode(b"\xff\xfe").decode(),
]
POSITIONS: list[object] = [
    *[None, {}, [], 1, "x", [1], [[]], [UP], [UP, 1], [UP, None], [UP, KEY, 1]],
    *[[UP, text] for text in ("", "zz", "bff0", "\0", KEY + "\n", KEY + "0", KEY * 33)],
    *[[DOWN, KEY], [TIME, KEY, "2026-01-01T00:00:00+00:00"], ["\0", KEY], ["\ud800", KEY]],
    *[[NEAR, *rest] for rest in ([math.nan, KEY], [math.inf, KEY], [-1.0, "\0"], ["1", KEY], [1, KEY], [True, KEY])],
]


@pytest.mark.parametrize("made", [*RAW_CURSORS, *map(cursor, POSITIONS)])
@pytest.mark.parametrize("query", [{}, {"near": "1", "radius": "5"}, {"order": "-updated_at"}], ids=str)
def test_a_cursor_that_no_answer_gave_is_refused(api: Api, made: str | bytes, query: dict[str, str]) -> None:
    problem_of(api.get("/memories?" + urlencode({"cursor": made, **query})), 422, field="cursor")


@pytest.mark.parametrize(
    "text",
    [
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        "2026-13-01T00:00:00+00:00",
        "2026-01-01T00:00:00",
        "x",
        "\0",
        "9" * 50,
    ],
)
def test_a_cursor_with_a_wrong_time_is_refused(api: Api, text: str) -> None:
    made = cursor([TIME, KEY, text])

    problem_of(api.get("/memories?" + urlencode({"cursor": made, "order": "created_at"})), 422, field="cursor")


def test_a_cursor_of_another_order_is_refused(api: Api) -> None:
    store_all(api, ["1", "2"])
    made = page(api, limit=1)["next_cursor"]

    for query in ({"order": "-coordinate"}, {"order": "created_at"}, {"near": "1", "radius": 5}):
        problem_of(api.get("/memories?" + urlencode({"cursor": made, **query})), 422, field="cursor")


def test_a_cursor_of_another_list_is_refused(api: Api) -> None:
    store_all(api, ["1", "2", "7,1", "7,2"])
    made = page(api, limit=1, prefix="7")["next_cursor"]

    for query in ({}, {"prefix": "1"}, {"prefix": "7", "memory_type": "semantic"}, {"prefix": "7", "namespace": "n"}):
        problem_of(api.get("/memories?" + urlencode({"cursor": made, **query})), 422, field="cursor")
    assert page(api, limit=9, prefix="7", cursor=made)["items"][0]["coord"] == "7.0,2.0"


def test_a_cursor_reveals_nothing_about_others(api: Api) -> None:
    store_all(api, ["1", "2"])

    for order in ORDERS:
        made = page(api, limit=1, order=order)["next_cursor"]
        position = json.loads(base64.urlsafe_b64decode(made + "=="))
        assert all(isinstance(part, str) for part in position), "no counter that all tenants share"


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"surprise": "1"}, "surprise"),
        ({"offset": "1"}, "offset"),
        ({"filters": "{"}, "filters"),
        ({"filters": '{"importance": "red"}'}, "filters.importance"),
        ({"order": "importance"}, "order"),
        ({"order": ""}, "order"),
        ({"memory_type": "x"}, "memory_type"),
        ({"memory_type": ""}, "memory_type"),
        ({"include_deleted": "maybe"}, "include_deleted"),
        ({"namespace": ""}, "namespace"),
        ({"namespace": "a b"}, "namespace"),
        ({"namespace": "a\0"}, "namespace"),
        ({"created_after": "yesterday"}, "created_after"),
        ({"created_after": "2026-01-01"}, "created_after"),
        ({"created_after": "2026-01-01T00:00:00"}, "created_after"),
        ({"created_before": "0001-01-01T00:00:00+14:00"}, "created_before"),
        ({"updated_after": "2026-02-30T00:00:00Z"}, "updated_after"),
        ({"updated_after": "2026-01-01T24:30:00Z"}, "updated_after"),
    ],
)
def test_a_bad_parameter_is_named(api: Api, query: dict[str, str], field: str) -> None:
    problem_of(api.get("/memories?" + urlencode(query)), 422, field=field)


@pytest.mark.parametrize("name", ["prefix", "near"])
@pytest.mark.parametrize("value", ["", "x", "1,", "nan", "1,2,", ",".join(["1"] * 33)])
def test_a_bad_coordinate_of_a_list_is_refused(api: Api, name: str, value: str) -> None:
    problem_of(api.get("/memories?" + urlencode({name: value, "radius": "1"})), 400, "invalid_coordinate")


def test_a_list_contains_only_what_matches_its_filters(api: Api) -> None:
    store_all(api, [[1], [2], [3]], metadata={"color": "red"})
    store_all(api, [[4], [5]], metadata={"color": "blue"})
    red = json.dumps({"metadata.color": "red"})
    assert pages(api, 2, filters=red, order="-updated_at") == [["3.0", "2.0"], ["1.0"]]


def test_a_list_of_the_past_applies_its_filters_to_the_earlier_versions(api: Api) -> None:
    store_all(api, [[1], [2]], metadata={"color": "red"})
    then = datetime.now(UTC).isoformat()
    store_all(api, [[1]], metadata={"color": "blue"})
    assert listed(api, filters=json.dumps({"metadata.color": "red"}), as_of=then) == ["1.0", "2.0"]
