"""Compatibility layers use the same authentication and policies as our own routes."""

from __future__ import annotations

import pytest

from api.app import api as ninja_api
from api.compat import layer
from api.routing import policies
from tests.conftest import Api


def test_routes_of_a_layer_are_not_in_our_contract() -> None:
    assert layer.policies
    assert not layer.policies.keys() & policies.keys()
    assert not [path for path in ninja_api.get_openapi_schema()["paths"] if "mem0" in path]


@pytest.mark.parametrize("scheme", ["Token", "Bearer"])
def test_a_layer_accepts_our_keys(api: Api, scheme: str) -> None:
    response = api.get("/mem0/v1/ping/", Authorization=f"{scheme} {api.key}")

    assert response.json()["status"] == "ok"
    assert response.json()["project_id"] == str(api.tenant.id)


def test_an_error_has_the_products_format(api: Api) -> None:
    response = api.get("/mem0/v1/ping/?unknown=1")

    assert (response.status_code, response["Content-Type"]) == (400, "application/json")
    assert response.json()["detail"] == "unknown: unknown query parameter"
    assert api.get("/mem0/v1/ping/", Authorization="Token wrong").status_code == 401
