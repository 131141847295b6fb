"""Every route declares its policy, and the router enforces it."""

from __future__ import annotations

import re

import pytest

from api.app import api as ninja_api
from api.routing import policies
from tests.conftest import Api, problem_of
from tests.support.every_route import CASES, Route, published

NAMES = {
    "coord": "1,2,3",
    "key": "vault",
    "deleted_id": "6f1c1f0e-0000-4000-8000-000000000005",
    "deleted": "4",
    "expired": "5",
    "text": "text",
    "slug": "acme",
    "prefix": "none",
    "message": "6f1c1f0e-0000-4000-8000-000000000003",
    "conversation": "6f1c1f0e-0000-4000-8000-000000000001",
}
WRITERS = sorted(route for route, policy in policies.items() if policy.writes)
CONDITIONAL = {
    ("POST", "/memories"),
    ("PUT", "/memories/by-key/{key}"),
    *(
        (method, f"/memories/{name}")
        for method in ("PATCH", "DELETE")
        for name in ("{coord}", "by-key/{key}", "by-id/{id}")
    ),
}
LLM_READERS = {("POST", "/labels/suggest"), ("POST", "/conversations/{id}/suggest-labels")}


def test_every_published_route_has_a_policy() -> None:
    assert set(policies) == published()


def test_every_method_but_get_writes_unless_its_kind_reads() -> None:
    readers = {route for route, policy in policies.items() if not policy.writes and route[0] != "GET"}

    assert {route for route in readers if policies[route].kind not in ("read", "search")} == LLM_READERS
    assert not [route for route in WRITERS if route[0] == "GET"]


def test_only_writes_to_one_memory_are_conditional() -> None:
    assert {route for route in WRITERS if policies[route].conditional} == CONDITIONAL


@pytest.mark.parametrize("header", [{"if_match": '"77"'}, {"if_none_match": "*"}], ids=["If-Match", "If-None-Match"])
@pytest.mark.parametrize("route", WRITERS, ids=str)
def test_every_writer_honours_a_condition_or_rejects_it(operator: Api, route: Route, header: dict[str, str]) -> None:
    stored = operator.store(NAMES["coord"], key=NAMES["key"])
    case = CASES[route][0].filled({**NAMES, "id": stored["id"]})

    response = operator.request(route[0], case.url, case.body, None, **header)

    if policies[route].conditional:
        problem_of(response, 412, "precondition_failed")
    else:
        assert "remove the header" in problem_of(response, 400, "malformed_request")["detail"]


def test_operation_ids_are_unique_and_independent_of_modules() -> None:
    operations = [
        operation for methods in ninja_api.get_openapi_schema()["paths"].values() for operation in methods.values()
    ]
    ids = [operation["operationId"] for operation in operations]

    assert len(set(ids)) == len(ids) == len(policies)
    assert [id for id in ids if not re.fullmatch(r"[a-z]+\.[a-z]+(_[a-z]+)*", id)] == []
