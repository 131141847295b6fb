"""The graph over HTTP: links, neighbours, paths, invalid requests, and the lifetime of links."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from django.utils import timezone

from graph import selectors
from graph.models import Link
from memories import retention
from memories.models import Memory
from tenants.models import AuditEvent
from tests.conftest import Api, problem_of


def link(api: Api, start: Any, end: Any, **fields: Any) -> dict[str, Any]:
    response = api.post("/graph/link", {"from_coord": start, "to_coord": end, **fields})
    assert response.status_code == 200, response.content
    made: dict[str, Any] = response.json()
    return made


def neighbors(api: Api, coord: str, **query: Any) -> list[dict[str, Any]]:
    response = api.get(f"/graph/neighbors?{urlencode({'coord': coord, **query})}")
    assert response.status_code == 200, response.content
    found: list[dict[str, Any]] = response.json()["neighbors"]
    return found


def around(api: Api, coord: str, **query: Any) -> list[str]:
    return [neighbour["coord"] for neighbour in neighbors(api, coord, **query)]


def path(api: Api, start: str, end: str, **query: Any) -> dict[str, Any]:
    response = api.get(f"/graph/path?{urlencode({'from_coord': start, 'to_coord': end, **query})}")
    assert response.status_code == 200, response.content
    found: dict[str, Any] = response.json()
    return found


def links(api: Api) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(api.get("/graph/export").getvalue())["links"]
    return found


# --- Links -------------------------------------------------------------------------------------------------------


def test_a_link_joins_two_addresses_where_nothing_is_stored(api: Api) -> None:
    made = link(api, "1,2", [3, 4], link_type="follows", strength=0.25, valid_to="2999-01-01T00:00:00+01:00")

    assert made == {
        "ok": True,
        "from_coord": "1.0,2.0",
        "to_coord": "3.0,4.0",
        "link_type": "follows",
        "strength": 0.25,
        "namespace": "default",
        "valid_from": None,
        "valid_to": "2998-12-31T23:00:00Z",
        "created": True,
    }


def test_a_link_of_nothing_but_its_ends_is_related_with_full_strength(api: Api) -> None:
    made = link(api, "1", "2")

    assert (made["link_type"], made["strength"], made["namespace"]) == ("related", 1.0, "default")


def test_a_link_created_again_is_replaced_completely(api: Api) -> None:
    link(api, "1", "2", strength=0.5, metadata={"a": 1}, valid_from="2020-01-01T00:00:00Z")

    again = link(api, "1", "2.0", strength=0.75)

    assert again["created"] is False
    [kept] = links(api)
    assert (kept["strength"], kept["metadata"], kept["valid_from"]) == (0.75, {}, None)


def test_links_of_other_types_and_the_way_back_are_other_links(api: Api) -> None:
    for start, end, kind in (("1", "2", "a"), ("1", "2", "b"), ("2", "1", "a"), ("1", "1", "a")):
        assert link(api, start, end, link_type=kind)["created"]

    assert api.get("/stats").json()["links"] == 4


def test_metadata_is_kept_and_changes_nothing(api: Api, stranger: Api) -> None:
    """The metadata's fields can have any name."""
    metadata = {
        "tenant": "stranger", "tenant_id": str(stranger.tenant.id), "namespace": "n", "link_type": "x", "strength": 0,
        "from_coord": "9", "from_key": "9", "to_key": "9", "id": 7, "valid_to": "2000-01-01T00:00:00Z", "pk": 1,
    }  # fmt: skip

    link(api, "1", "2", metadata=metadata)

    [kept] = links(api)
    assert kept == {
        "from_coord": "1.0", "to_coord": "2.0", "link_type": "related", "strength": 1.0, "metadata": metadata,
        "namespace": "default", "valid_from": None, "valid_to": None,
    }  # fmt: skip
    assert links(stranger) == []


def test_a_link_is_removed_by_its_ends_and_type(api: Api) -> None:
    link(api, "1", "2")
    link(api, "1", "2", link_type="follows")

    for expected in (True, False):
        response = api.delete("/graph/link?from_coord=1&to_coord=2.0")
        assert response.json() == {"deleted": expected}
    assert [link["link_type"] for link in links(api)] == ["follows"]


def test_every_change_of_a_link_is_in_the_audit_log(api: Api) -> None:
    link(api, "1", "2", namespace="n")
    api.delete("/graph/link?from_coord=1&to_coord=2&namespace=n")
    api.delete("/graph/link?from_coord=1&to_coord=2&namespace=n")

    events = AuditEvent.objects.filter(tenant=api.tenant, action__startswith="graph.").order_by("id")
    assert list(events.values_list("action", "namespace", "target")) == [
        (f"graph.{what}", "n", "1.0 -related-> 2.0") for what in ("link", "unlink")
    ]


def test_a_link_sent_twice_with_one_idempotency_key_is_created_once(api: Api) -> None:
    body = {"from_coord": "1", "to_coord": "2"}

    first = api.post("/graph/link", body, idempotency_key="k")
    again = api.post("/graph/link", body, idempotency_key="k")

    assert (first.json()["created"], again.json()["created"]) == (True, True)
    assert again["Idempotent-Replayed"] == "true"


# --- Bulk --------------------------------------------------------------------------------------------------------


def bulk(api: Api, items: list[Any], status: int = 200, **fields: Any) -> dict[str, Any]:
    response = api.post("/graph/links/bulk", {"links": items, **fields})
    assert response.status_code == status, response.content
    answer: dict[str, Any] = response.json()
    return answer


def test_bulk_links_are_created_and_answered_in_order(api: Api) -> None:
    link(api, "2", "3")
    items = [{"from_coord": start, "to_coord": end} for start, end in (("4", "5"), ("2", "3"), ("4", "5"))]

    answer = bulk(api, [*items, {**items[0], "namespace": "n", "link_type": "x"}])

    assert answer["results"] == [
        {"index": 0, "status": 201, "from_coord": "4.0", "to_coord": "5.0", "link_type": "related"},
        {"index": 1, "status": 200, "from_coord": "2.0", "to_coord": "3.0", "link_type": "related"},
        {"index": 2, "status": 200, "from_coord": "4.0", "to_coord": "5.0", "link_type": "related"},
        {"index": 3, "status": 201, "from_coord": "4.0", "to_coord": "5.0", "link_type": "x"},
    ]
    assert (answer["stored"], answer["failed"]) == (4, 0)


def test_the_last_of_duplicate_links_in_a_batch_wins(api: Api) -> None:
    bulk(api, [{"from_coord": "1", "to_coord": "2", "strength": strength} for strength in (0.1, 0.2, 0.3)])

    assert [link["strength"] for link in links(api)] == [0.3]


def test_bad_links_do_not_spoil_the_others(api: Api) -> None:
    bad = [
        {"from_coord": "x", "to_coord": "1"},
        {"from_coord": "1"},
        {"from_coord": "1", "to_coord": "2", "strength": 2},
    ]

    answer = bulk(api, [{"from_coord": "1", "to_coord": "2"}, *bad], 207)

    assert [result["status"] for result in answer["results"]] == [201, 400, 422, 422]
    assert (answer["stored"], answer["failed"]) == (1, 3)
    assert answer["results"][3]["error"]["errors"][0]["field"] == "strength"
    assert len(links(api)) == 1


def test_an_atomic_batch_is_all_or_nothing_and_says_where_it_is_wrong(api: Api) -> None:
    good = {"from_coord": "1", "to_coord": "2"}

    response = api.post("/graph/links/bulk", {"links": [good, {**good, "strength": -1}], "atomic": True})

    problem_of(response, 422, field="links.1.strength")
    assert links(api) == []


def test_a_batch_has_1_to_1000_links(api: Api) -> None:
    problem_of(api.post("/graph/links/bulk", {"links": []}), 422, field="links")
    problem_of(api.post("/graph/links/bulk", {"links": [{}] * 1001}), 422, field="links")
    answer = bulk(api, [{"from_coord": [n], "to_coord": [n + 1]} for n in range(1000)])
    assert answer["stored"] == 1000
    assert path(api, "0", "20", max_length=20)["length"] == 20


# --- Neighbours --------------------------------------------------------------------------------------------------


def test_a_neighbour_says_how_it_is_reached(api: Api) -> None:
    link(api, "1", "2", link_type="follows", strength=0.5)
    link(api, "3", "2", link_type="cites", strength=0.75)

    near, far = neighbors(api, "1", k_hop=2, direction="both")

    assert near == {
        "coord": "2.0", "coordinate": [2.0], "link_type": "follows", "strength": 0.5, "hops": 1, "direction": "out",
        "path": ["1.0", "2.0"],
    }  # fmt: skip
    assert far == {
        "coord": "3.0", "coordinate": [3.0], "link_type": "cites", "strength": 0.75, "hops": 2, "direction": "in",
        "path": ["1.0", "2.0", "3.0"],
    }  # fmt: skip


def test_k_hop_is_honoured(api: Api) -> None:
    for n in range(7):
        link(api, str(n), str(n + 1))

    for hops in range(1, 6):
        assert around(api, "0", k_hop=hops) == [f"{n}.0" for n in range(1, hops + 1)]
    assert around(api, "0") == ["1.0"]


def test_direction_is_out_by_default(api: Api) -> None:
    link(api, "1", "2")
    link(api, "3", "1")

    assert around(api, "1") == ["2.0"]
    assert around(api, "1", direction="in") == ["3.0"]
    assert around(api, "1", direction="both") == ["2.0", "3.0"]


def test_neighbours_come_by_hops_then_strength_then_coordinate(api: Api) -> None:
    for end, strength in (("5", 0.5), ("-4", 0.9), ("3", 0.9), ("10", 0.9), ("2", 0.1)):
        link(api, "1", end, strength=strength)
    link(api, "2", "7")

    assert around(api, "1", k_hop=2) == ["-4.0", "3.0", "10.0", "5.0", "2.0", "7.0"]
    assert around(api, "1", k_hop=2, limit=2, offset=3) == ["5.0", "2.0"]
    assert around(api, "1", k_hop=2, offset=6) == []


def test_the_strongest_of_parallel_links_is_reported(api: Api) -> None:
    for kind, strength in (("c", 0.5), ("b", 0.9), ("a", 0.9), ("d", 0.1)):
        link(api, "1", "2", link_type=kind, strength=strength)

    [only] = neighbors(api, "1")
    assert (only["link_type"], only["strength"]) == ("a", 0.9)
    [only] = neighbors(api, "1", link_type="c,d")
    assert (only["link_type"], only["strength"]) == ("c", 0.5)


def test_a_coordinate_is_never_its_own_neighbour(api: Api) -> None:
    link(api, "1", "1")
    link(api, "1", "2")
    link(api, "2", "1")

    assert around(api, "1", k_hop=5, direction="both") == ["2.0"]


def test_links_below_the_least_strength_are_not_walked(api: Api) -> None:
    link(api, "1", "2", strength=0.2)
    link(api, "1", "3", strength=0.3)
    link(api, "2", "4")

    assert around(api, "1", k_hop=2, min_strength=0.3) == ["3.0"]
    assert around(api, "1", k_hop=2, min_strength=0) == ["3.0", "2.0", "4.0"]


def test_links_are_valid_at_a_time_which_is_now_by_default(api: Api) -> None:
    link(api, "1", "2", valid_from="2020-01-01T00:00:00Z", valid_to="2021-01-01T00:00:00Z")
    link(api, "1", "3", valid_from="2999-01-01T00:00:00Z")
    link(api, "1", "4", valid_from="2020-01-01T00:00:00Z")

    assert around(api, "1") == ["4.0"]
    assert around(api, "1", valid_at="2019-12-31T23:59:59.999999Z") == []
    assert around(api, "1", valid_at="2020-01-01T00:00:00Z") == ["2.0", "4.0"]
    assert around(api, "1", valid_at="2021-01-01T00:00:00Z") == ["4.0"]
    assert around(api, "1", valid_at="2999-01-01T00:00:00+00:00") == ["3.0", "4.0"]
    assert path(api, "1", "2", valid_at="2020-06-01T00:00:00Z")["found"]
    assert not path(api, "1", "2")["found"]


def test_memories_of_neighbours_come_on_request_and_null_where_none_is_alive(api: Api) -> None:
    for n in range(2, 6):
        link(api, "1", str(n))
    for n in range(2, 5):
        api.store(str(n), f"memory {n}")
    api.delete("/memories/3")
    expired = Memory.objects.for_tenant(api.tenant).filter(payload={"text": "memory 4"})
    expired.update(expires_at=timezone.now() - timedelta(seconds=1))

    found = neighbors(api, "1", include_memory="true")

    assert [result["memory"] and result["memory"]["payload"] for result in found] == [
        {"text": "memory 2"},
        None,
        None,
        None,
    ]
    assert found[0]["memory"].keys() == api.get("/memories/2").json()["memory"].keys()
    assert "memory" not in neighbors(api, "1")[0]


def test_a_response_that_may_lack_neighbours_is_marked_as_truncated(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    bulk(api, [{"from_coord": "1", "to_coord": [2, n]} for n in range(6)])
    monkeypatch.setattr(selectors, "MAX_READ", 5)

    whole = api.get("/graph/neighbors?coord=2,1&direction=in").json()
    cut = api.get("/graph/neighbors?coord=1").json()

    assert (len(whole["neighbors"]), whole["truncated"]) == (1, False)
    assert (len(cut["neighbors"]), cut["truncated"]) == (5, True)
    found = path(api, "1", "9", direction="both")
    assert (found["found"], found["truncated"]) == (False, True)


# --- Paths -------------------------------------------------------------------------------------------------------


def test_a_path_names_its_addresses_and_the_types_of_its_links(api: Api) -> None:
    link(api, "1", "2", link_type="follows", strength=0.5)
    link(api, "2", "3", link_type="cites")
    link(api, "2", "3", link_type="weak", strength=0.1)

    assert path(api, "1", "3") == {
        "from_coord": "1.0",
        "to_coord": "3.0",
        "found": True,
        "path": ["1.0", "2.0", "3.0"],
        "link_types": ["follows", "cites"],
        "length": 2,
        "cost": 0.52,
        "truncated": False,
    }


def test_a_path_that_is_not_there_is_not_found(api: Api) -> None:
    link(api, "1", "2")

    assert path(api, "2", "1") == {
        "from_coord": "2.0", "to_coord": "1.0", "found": False, "path": [], "link_types": [], "length": None,
        "cost": None, "truncated": False,
    }  # fmt: skip
    assert path(api, "2", "1", direction="in")["found"]
    assert path(api, "2", "1", direction="both")["found"]


@pytest.mark.parametrize("weighted", ["true", "false"])
def test_the_greatest_length_is_exact(api: Api, weighted: str) -> None:
    bulk(api, [{"from_coord": [n], "to_coord": [n + 1]} for n in range(21)])

    for length in (1, 2, 7, 20):
        assert path(api, "0", str(length), max_length=length, weighted=weighted)["length"] == length
        assert not path(api, "0", str(length + 1), max_length=length, weighted=weighted)["found"]


def test_a_path_to_itself_has_no_steps(api: Api) -> None:
    found = path(api, "1", "1.0")

    assert (found["found"], found["path"], found["link_types"], found["length"], found["cost"]) == (
        True, ["1.0"], [], 0, 0.0,
    )  # fmt: skip


def test_a_weighted_path_takes_the_stronger_way_round(api: Api) -> None:
    link(api, "1", "3", strength=0.2)
    link(api, "1", "2", strength=0.9)
    link(api, "2", "3", strength=0.9)

    assert path(api, "1", "3")["path"] == ["1.0", "3.0"]
    around_it = path(api, "1", "3", weighted="true")
    assert (around_it["path"], around_it["cost"]) == (["1.0", "2.0", "3.0"], 0.22)
    assert path(api, "1", "3", weighted="true", max_length=1)["cost"] == 0.81


def test_a_path_follows_links_of_the_requested_types(api: Api) -> None:
    link(api, "1", "3", link_type="a")
    link(api, "1", "2", link_type="b")
    link(api, "2", "3", link_type="c")

    assert path(api, "1", "3", link_type="b,c")["link_types"] == ["b", "c"]
    assert not path(api, "1", "3", link_type="b")["found"]


# --- Invalid requests --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("strength", -0.1),
        ("strength", 1.1),
        ("strength", "1"),
        ("strength", True),
        ("strength", None),
        ("link_type", ""),
        ("link_type", "a b"),
        ("link_type", "a" * 101),
        ("link_type", "ä"),
        ("link_type", "a\n"),
        ("link_type", 5),
        ("namespace", "a b"),
        ("metadata", []),
        ("metadata", None),
        ("valid_from", "yesterday"),
        ("valid_to", "2020-02-30T00:00:00Z"),
        ("tenant", "acme"),
    ],
)
def test_a_wrong_field_of_a_link_is_named(api: Api, field: str, value: Any) -> None:
    problem_of(api.post("/graph/link", {"from_coord": "1", "to_coord": "2", field: value}), 422, field=field)
    assert links(api) == []


@pytest.mark.parametrize("raw", [b"NaN", b"Infinity", b"1e400"])
def test_no_strength_is_not_a_number(api: Api, raw: bytes) -> None:
    body = b'{"from_coord": "1", "to_coord": "2", "strength": ' + raw + b"}"

    problem_of(api.request("POST", "/graph/link", raw=body), 422)


@pytest.mark.parametrize("end", ["2020-01-01T00:00:00Z", "2019-12-31T00:00:00Z", "2020-01-01T00:30:00+01:00"])
def test_a_link_that_would_end_before_it_begins_is_refused(api: Api, end: str) -> None:
    body = {"from_coord": "1", "to_coord": "2", "valid_from": "2020-01-01T00:00:00Z", "valid_to": end}

    problem_of(api.post("/graph/link", body), 422, field="valid_to")
    assert bulk(api, [body], 207)["results"][0]["error"]["errors"][0]["field"] == "valid_to"


@pytest.mark.parametrize("coord", ["", "x", "1,", "1_0", "nan", "1e400", [], [None], {"x": 1}, None, 5, ["1"]])
@pytest.mark.parametrize("end", ["from_coord", "to_coord"])
def test_a_bad_coordinate_of_a_link_is_400(api: Api, end: str, coord: Any) -> None:
    problem_of(
        api.post("/graph/link", {"from_coord": "1", "to_coord": "2", end: coord}), 400, code="invalid_coordinate"
    )


@pytest.mark.parametrize(
    ("route", "field", "value"),
    [
        ("neighbors", "k_hop", "0"),
        ("neighbors", "k_hop", "6"),
        ("neighbors", "k_hop", "1.5"),
        ("neighbors", "k_hop", "1_0"),
        ("neighbors", "limit", "0"),
        ("neighbors", "limit", "1001"),
        ("neighbors", "offset", "-1"),
        ("neighbors", "include_memory", "perhaps"),
        ("path", "max_length", "0"),
        ("path", "max_length", "21"),
        ("path", "weighted", "2"),
        *[
            (route, *wrong)
            for route in ("neighbors", "path")
            for wrong in (
                ("direction", "sideways"),
                ("direction", ""),
                ("link_type", ""),
                ("link_type", "a,,b"),
                ("link_type", "a b"),
                ("link_type", ",".join(f"t{n}" for n in range(101))),
                ("min_strength", "1.1"),
                ("min_strength", "nan"),
                ("valid_at", "now"),
                ("as_of", "now"),
                ("as_of", "2999-01-01T00:00:00Z"),
                ("as_of", "2020-01-01"),
                ("namespace", ""),
                ("colour", "red"),
            )
        ],
        ("export", "format", "xml"),
    ],
)
def test_a_wrong_parameter_is_named(api: Api, route: str, field: str, value: str) -> None:
    ends = {"neighbors": {"coord": "1"}, "path": {"from_coord": "1", "to_coord": "2"}, "export": {}}[route]

    problem_of(api.get(f"/graph/{route}?{urlencode({**ends, field: value})}"), 422, field=field)


@pytest.mark.parametrize(
    "path", ["neighbors?coord=x", "path?from_coord=x&to_coord=1", "path?from_coord=1&to_coord=1,", "export?prefix=x"]
)
def test_a_bad_coordinate_of_a_question_is_400(api: Api, path: str) -> None:
    problem_of(api.get(f"/graph/{path}"), 400, code="invalid_coordinate")


@pytest.mark.parametrize(
    "query", ["from_coord=1", "from_coord=1&to_coord=2&link_type=a b", "from_coord=1&to_coord=2&x=1"]
)
def test_an_unlinking_that_is_not_clear_removes_nothing(api: Api, query: str) -> None:
    link(api, "1", "2")

    problem_of(api.delete(f"/graph/link?{query.replace(' ', '%20')}"), 422)
    assert len(links(api)) == 1


@pytest.mark.parametrize("condition", [{"if_match": '"1"'}, {"if_none_match": "*"}])
def test_links_take_no_condition(api: Api, condition: dict[str, str]) -> None:
    body = {"from_coord": "1", "to_coord": "2"}

    problem_of(api.post("/graph/link", body, **condition), 400)
    problem_of(api.post("/graph/links/bulk", {"links": [body]}, **condition), 400)
    problem_of(api.delete("/graph/link?from_coord=1&to_coord=2", **condition), 400)


# --- Lifetime of links -------------------------------------------------------------------------------------------


def test_a_soft_delete_keeps_the_links_and_a_restored_memory_has_them_again(api: Api) -> None:
    api.store("2")
    link(api, "1", "2")

    api.delete("/memories/2")
    assert [neighbour["memory"] for neighbour in neighbors(api, "1", include_memory="true")] == [None]
    api.post("/memories/2/restore")
    assert neighbors(api, "1", include_memory="true")[0]["memory"]["coord"] == "2.0"


def test_a_purge_removes_the_links_of_the_address_in_both_directions_and_no_others(api: Api, stranger: Api) -> None:
    for whose in (api, stranger):
        for namespace in ("default", "n"):
            whose.store("2", namespace=namespace)
            for start, end in (("1", "2"), ("2", "3"), ("2", "2"), ("1", "3"), ("2,1", "3")):
                link(whose, start, end, namespace=namespace)

    api.delete("/memories/2?purge=true")

    assert [(link["from_coord"], link["to_coord"]) for link in links(api)] == [("1.0", "3.0"), ("2.0,1.0", "3.0")]
    assert api.get("/stats").json()["links"] == 2 + 5
    assert stranger.get("/stats").json()["links"] == 10


def test_a_purge_of_nothing_removes_no_links(api: Api) -> None:
    link(api, "1", "2")

    assert api.delete("/memories/2?purge=true").json()["deleted"] is False
    assert len(links(api)) == 1


def test_the_purge_after_the_retention_time_removes_links_too(api: Api) -> None:
    for coord in ("1", "2", "3"):
        api.store(coord)
    link(api, "1", "2")
    link(api, "1", "3")
    api.delete("/memories/2")
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    Memory.objects.for_tenant(api.tenant).filter(deleted_at__isnull=False).update(deleted_at=long_ago)

    assert retention.purge() == 1

    assert [link["to_coord"] for link in links(api)] == ["3.0"]


def test_links_go_with_the_purge_or_not_at_all(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    api.store("2")
    link(api, "1", "2")

    def fails(*_: Any, **__: Any) -> None:
        raise RuntimeError

    monkeypatch.setattr("tenants.audit.record", fails)
    problem_of(api.delete("/memories/2?purge=true"), 500)

    assert Link.objects.for_tenant(api.tenant).count() == 1
    assert api.get("/memories/2").status_code == 200
