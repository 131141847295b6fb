"""Reserved namespaces: no route that takes a namespace writes to them."""

from __future__ import annotations

from typing import Any

import pytest

from api.app import api as ninja_api
from api.routing import policies
from graph.models import Link
from memories.models import Memory
from memories.reserved_namespaces import CONVERSATIONS, FACTS, SUMMARIES
from tests.conftest import Api
from tests.support.every_route import CASES, NAMES, Case, Route

ITEMS = ("items", "links")


def takes_namespace(route: Route) -> bool:
    """Return whether the query, the body or the items of a bulk request contain a namespace."""
    return takes_namespace_in_query(route) or any(
        "namespace" in name or name in ITEMS for name in _properties(_operation(route))
    )


def takes_namespace_in_query(route: Route) -> bool:
    return any(parameter["name"] == "namespace" for parameter in _operation(route).get("parameters", ()))


def _operation(route: Route) -> dict[str, Any]:
    operation: dict[str, Any] = ninja_api.get_openapi_schema()["paths"]["/api/v1" + route[1]][route[0].lower()]
    return operation


def _properties(operation: dict[str, Any]) -> dict[str, Any]:
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    name = content.get("schema", {}).get("$ref", "").rpartition("/")[2]
    schemas = ninja_api.get_openapi_schema()["components"]["schemas"]
    properties: dict[str, Any] = schemas.get(name, {}).get("properties", {})
    return properties


WRITERS = sorted(
    route
    for route, policy in policies.items()
    if policy.writes and takes_namespace(route) and "/tenants" not in route[1]
)


def in_namespace(route: Route, case: Case, namespace: str) -> Case:
    """Return the request with its namespace replaced everywhere."""
    if case.body is None or "namespace=n" in case.path or takes_namespace_in_query(route):
        path = case.path.replace("namespace=n", "")
        return Case(f"{path}{'&' if '?' in path else '?'}namespace={namespace}", case.body)
    items = next((case.body[name] for name in ITEMS if name in case.body), [case.body])
    for item in items:
        item.pop("namespace_prefix", None)
        item["namespace"] = namespace
    return Case(case.path, case.body)


def test_the_routes_that_write_to_a_namespace_include_memories_and_links() -> None:
    assert {path for _, path in WRITERS} >= {"/memories", "/memories/bulk", "/graph/link", "/graph/links/bulk"}
    assert ("DELETE", "/graph/link") in WRITERS


@pytest.mark.parametrize("namespace", [CONVERSATIONS, SUMMARIES, FACTS])
@pytest.mark.parametrize("route", WRITERS, ids=str)
def test_no_route_writes_to_a_reserved_namespace(api: Api, route: Route, namespace: str) -> None:
    # Ends of a link that are named by key or id are looked up first, and no memory in these namespaces has a key
    by_coordinate = [case for case in CASES[route] if "from_key" not in f"{case.path} {case.body}"]
    case = in_namespace(route, by_coordinate[-1].filled(NAMES), namespace)

    response = api.request(route[0], case.url, case.body)

    assert response.status_code in (207, 422), response.content
    assert f"namespace '{namespace}' is reserved" in response.content.decode()
    assert not Memory.objects.for_tenant(api.tenant).exists()
    assert not Link.objects.for_tenant(api.tenant).exists()
