"""A list of large memories ends early and says where to continue, and no memory is lost or repeated."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from memories.models import Memory
from somamemory.response_size import fitting
from tests.conftest import Api, drain

LARGE = "lorem " * 10_000  # 60 KB, so that one or two fit into one response
COORDS = [f"1,{number}" for number in range(7)]


@pytest.fixture(autouse=True)
def _little_room(settings: Any) -> None:
    settings.MAX_RESPONSE_BYTES = 130_000


@pytest.fixture
def stored(api: Api) -> list[str]:
    """Three large memories among four small ones."""
    for at, coord in enumerate(COORDS):
        api.store(coord, LARGE if at % 2 else "lorem")
    return COORDS


def pages(api: Api, path: str, key: str) -> Iterator[list[Any]]:
    mark = "&" if "?" in path else "?"
    cursor = ""
    while True:
        response = api.get(f"{path}{cursor}")
        assert response.status_code == 200, response.content
        assert len(response.content) < 200_000
        page = response.json()
        yield page[key]
        if page["next_cursor"] is None:
            return
        cursor = f"{mark}cursor={page['next_cursor']}"


@pytest.mark.parametrize(
    "query",
    [
        "limit=1000",
        "order=-coordinate",
        "order=created_at",
        "order=-updated_at",
        "near=1,0&radius=10",
        "prefix=1&limit=2",
    ],
)
def test_a_list_continues_after_a_full_page(api: Api, stored: list[str], query: str) -> None:
    listed = [item["coord"] for page in pages(api, f"/memories?{query}", "items") for item in page]

    assert sorted(listed) == [f"1.0,{number}.0" for number in range(7)]


def test_a_large_memory_is_listed_whole(api: Api, stored: list[str]) -> None:
    items = [item for page in pages(api, "/memories?limit=1000", "items") for item in page]

    assert [len(item["payload"]["text"]) for item in items] == [5, 60_000] * 3 + [5]
    assert all(item["metadata"] == {} for item in items)


def test_a_memory_larger_than_a_response_is_returned_alone(api: Api, settings: Any, stored: list[str]) -> None:
    settings.MAX_RESPONSE_BYTES = 1_000

    sizes = [len(page) for page in pages(api, "/memories?limit=1000", "items")]

    assert sum(sizes) == 7
    assert max(sizes) == 1


def test_a_list_of_small_memories_takes_no_further_statement(api: Api) -> None:
    api.store("1,0")
    api.get("/memories")
    with CaptureQueriesContext(connection) as queries:
        api.get("/memories")

    assert len([query for query in queries if "sfm_memories" in query["sql"]]) == 1


def test_a_large_memory_beyond_the_page_is_not_read(api: Api, stored: list[str]) -> None:
    with CaptureQueriesContext(connection) as queries:
        api.get("/memories?limit=1000")

    [_, whole] = [query["sql"] for query in queries if "sfm_memories" in query["sql"] and "payload" in query["sql"]]
    first_two = Memory.all_tenants.filter(size__gt=50_000).order_by("coordinate_key").values_list("seq", flat=True)[:2]
    assert all(str(seq) in whole for seq in first_two)


def test_a_bulk_read_continues_from_the_next_index(api: Api, stored: list[str]) -> None:
    coords = [*stored, "9,9", stored[1], stored[0]]
    read: list[Any] = []
    while len(read) < len(coords):
        body = api.post("/memories/bulk/get", {"coords": coords[len(read) :]}).json()
        assert body["next_index"] in (None, len(body["items"]))
        read += body["items"]

    assert [item["memory"] and len(item["memory"]["payload"]["text"]) for item in read] == [
        5, 60_000, 5, 60_000, 5, 60_000, 5, None, 60_000, 5
    ]  # fmt: skip


def test_a_bulk_read_of_small_memories_has_no_next_index(api: Api) -> None:
    api.store("1,0")

    assert api.post("/memories/bulk/get", {"coords": ["1,0", "2"]}).json()["next_index"] is None


def offsets(read: Callable[[int], dict[str, Any]], key: str) -> list[Any]:
    found: list[Any] = []
    offset: int | None = 0
    while offset is not None:
        page = read(offset)
        assert len(json.dumps(page)) < 200_000
        found += page[key]
        offset = page.get("next_offset")
    return found


def test_a_search_continues_from_the_next_offset(api: Api, stored: list[str]) -> None:
    def search(offset: int) -> dict[str, Any]:
        body = {"query": "lorem", "mode": "keyword", "top_k": 200, "offset": offset}
        return dict(api.post("/memories/search", body).json())

    found = offsets(search, "memories")

    assert sorted(hit["coord"] for hit in found) == [f"1.0,{number}.0" for number in range(7)]
    assert "next_offset" not in search(6)


def test_neighbours_continue_from_the_next_offset(api: Api, stored: list[str]) -> None:
    for coord in stored:
        api.post("/graph/link", {"from_coord": "0", "to_coord": coord, "link_type": "to"})

    def neighbours(offset: int) -> dict[str, Any]:
        return dict(api.get(f"/graph/neighbors?coord=0&include_memory=true&limit=100&offset={offset}").json())

    found = offsets(neighbours, "neighbors")

    assert [len(neighbour["memory"]["payload"]["text"]) for neighbour in found] == [5, 60_000] * 3 + [5]


@pytest.fixture
def conversation(api: Api) -> str:
    messages = [{"role": "user", "content": LARGE if at % 2 else "lorem"} for at in range(7)]
    return str(api.post("/api/v1/conversations", {"label": "x", "messages": messages}).json()["id"])


def test_messages_continue_after_a_full_page(api: Api, conversation: str) -> None:
    turns = [
        item["turn"] for page in pages(api, f"/api/v1/conversations/{conversation}/messages", "items") for item in page
    ]

    assert turns == list(range(1, 8))


@pytest.mark.parametrize("path", ["/api/v1/query", "/api/v1/search/fts"])
def test_searches_for_messages_continue_from_the_next_offset(api: Api, conversation: str, path: str) -> None:
    drain()

    def search(offset: int) -> dict[str, Any]:
        return dict(api.post(path, {"query": "lorem", "limit": 100, "offset": offset}).json())

    found = offsets(search, "results")

    assert len({hit["coord"] for hit in found}) == len(found) == 7


def test_an_export_is_complete_with_memories_of_any_size(api: Api, operator: Api, conversation: str) -> None:
    lines = b"".join(operator.get("/api/v1/tenants/acme/export").streaming_content).splitlines()
    [exported] = json.loads(b"".join(api.get("/api/v1/export?format=json").streaming_content))

    rows = [json.loads(line) for line in lines if b'"table":"sfm_memories"' in line]
    assert sorted(len(row["row"]["payload"]["content"]) for row in rows) == [5] * 4 + [60_000] * 3
    assert [len(message["content"]) for message in exported["messages"]] == [5, 60_000] * 3 + [5]


@pytest.mark.parametrize(
    ("sizes", "count"), [([], 0), ([1], 1), ([500_000], 1), ([500_000, 1], 1), ([65_000, 65_000, 1], 2), ([0] * 9, 9)]
)
def test_as_many_items_fit_as_have_room(sizes: list[int], count: int) -> None:
    assert fitting(sizes) == count
