"""Exports of a namespace's graph: GraphML that NetworkX reads, and JSON that can be imported again."""

from __future__ import annotations

import io
import json
from typing import Any

import networkx
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from graph import selectors
from tests.conftest import Api, problem_of

LINKS: list[dict[str, Any]] = [
    {"from_coord": "1.0", "to_coord": "2.0", "link_type": "a", "strength": 0.5, "metadata": {"x": [1, '<&">é\u0001']}},
    {"from_coord": "1.0", "to_coord": "2.0", "link_type": "b", "valid_from": "2020-01-01T00:00:00Z"},
    {"from_coord": "1.0,5.0", "to_coord": "1.0,6.0"},
    {"from_coord": "1.0,5.0", "to_coord": "1.0,5.0", "valid_to": "2999-01-01T00:00:00.000001Z"},
    {"from_coord": "2.0", "to_coord": "1.0,6.0"},
    {"from_coord": "-1e+300", "to_coord": "0.1"},
]


@pytest.fixture
def linked(api: Api) -> Api:
    assert api.post("/graph/links/bulk", {"links": LINKS}).status_code == 200
    elsewhere = {"from_coord": "1", "to_coord": "9", "namespace": "n"}
    assert api.post("/graph/link", elsewhere).status_code == 200
    return api


def exported(api: Api, query: str = "") -> bytes:
    response = api.get(f"/graph/export?{query}")
    assert response.status_code == 200
    content: bytes = response.getvalue()
    return content


def graphml(api: Api, query: str = "") -> Any:
    return networkx.read_graphml(io.BytesIO(exported(api, f"format=graphml&{query}")), force_multigraph=True)


def test_an_export_at_coordinates_contains_the_links_that_begin_or_end_there(linked: Api) -> None:
    links = json.loads(exported(linked, "coords=1,6;-1e300"))["links"]

    assert sorted((link["from_coord"], link["to_coord"]) for link in links) == [
        ("-1e+300", "0.1"),
        ("1.0,5.0", "1.0,6.0"),
        ("2.0", "1.0,6.0"),
    ]


@pytest.mark.parametrize(
    ("coords", "status"), [("", 400), ("1,2;", 400), ("x", 400), (";".join(["1"] * 101), 422)], ids=str
)
def test_an_export_at_invalid_coordinates_is_refused(api: Api, coords: str, status: int) -> None:
    problem_of(api.get(f"/graph/export?coords={coords}"), status, None, "coords")


def test_networkx_reads_the_exported_graph(linked: Api) -> None:
    graph = graphml(linked)

    assert graph.is_directed()
    assert set(graph) == {end for link in LINKS for end in (link["from_coord"], link["to_coord"])}
    found = [
        {
            "from_coord": start,
            "to_coord": end,
            **data,
            "metadata": json.loads(data["metadata"]),
        }
        for start, end, data in graph.edges(data=True)
    ]
    wanted = [{"link_type": "related", "strength": 1.0, "metadata": {}, **link} for link in LINKS]

    def order(link: dict[str, Any]) -> str:
        return json.dumps(link, sort_keys=True)

    assert sorted(found, key=order) == sorted(wanted, key=order)


def test_an_export_does_not_reveal_how_many_links_others_have(linked: Api, stranger: Api) -> None:
    stranger.post("/graph/links/bulk", {"links": LINKS})

    for query in ("format=graphml", "format=json"):
        assert exported(stranger, query) == exported(linked, query)


def test_the_json_can_be_sent_back(linked: Api, stranger: Api) -> None:
    content = exported(linked)
    links = json.loads(content)["links"]

    answer = stranger.post("/graph/links/bulk", {"links": links, "atomic": True})

    assert answer.json()["stored"] == len(LINKS)
    assert exported(stranger) == content
    keys = [(link["from_coord"], link["to_coord"], link["link_type"]) for link in links]
    assert keys[0][0] == "-1e+300"
    assert keys[1:3] == [("1.0", "2.0", "a"), ("1.0", "2.0", "b")]


def test_a_prefix_exports_the_links_among_the_addresses_below_it(linked: Api) -> None:
    links = json.loads(exported(linked, "prefix=1"))["links"]

    assert [(link["from_coord"], link["to_coord"]) for link in links] == [
        ("1.0,5.0", "1.0,5.0"),
        ("1.0,5.0", "1.0,6.0"),
    ]
    assert set(graphml(linked, "prefix=1")) == {"1.0,5.0", "1.0,6.0"}


def test_each_namespace_is_exported_separately(linked: Api) -> None:
    [link] = json.loads(exported(linked, "namespace=n"))["links"]

    assert (link["to_coord"], link["namespace"]) == ("9.0", "n")


def test_nothing_is_exported_as_an_empty_graph(api: Api) -> None:
    assert exported(api) == b'{"links":[]}'
    assert not graphml(api)


@pytest.mark.parametrize(("query", "kind"), [("format=graphml", "application/graphml+xml"), ("", "application/json")])
def test_an_export_has_a_content_type_and_a_file_name(api: Api, query: str, kind: str) -> None:
    response = api.get(f"/api/v1/graph/export?{query}")

    assert (response["Content-Type"], response["Cache-Control"]) == (kind, "private, no-cache")
    assert response.streaming


@pytest.mark.parametrize("page", [1, 2, 3, 7])
def test_an_export_is_read_page_by_page_and_is_whole(linked: Api, page: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, tree = exported(linked), exported(linked, "format=graphml")
    monkeypatch.setattr(selectors, "EXPORT_PAGE", page)

    assert exported(linked) == whole
    assert exported(linked, "format=graphml") == tree


def test_no_more_than_a_page_is_read_ahead(linked: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selectors, "EXPORT_PAGE", 2)
    monkeypatch.setattr("graph.exporting.PIECE", 2)
    pieces = iter(linked.get("/graph/export").streaming_content)

    with CaptureQueriesContext(connection) as captured:
        next(pieces)  # the opening
        assert len(captured) == 0
        next(pieces)
        assert len(captured) == 1
        next(pieces)
        assert len(captured) == 2
    assert json.loads(b'{"links":[' + b"".join(pieces).lstrip(b","))["links"]


def test_links_created_during_an_export_are_not_included(linked: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selectors, "EXPORT_PAGE", 1)
    pieces = iter(linked.get("/graph/export").streaming_content)
    begun = next(pieces)

    linked.post("/graph/link", {"from_coord": "8", "to_coord": "9"})

    assert len(json.loads(begun + b"".join(pieces))["links"]) == len(LINKS)
