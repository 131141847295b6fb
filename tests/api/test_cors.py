"""CORS: only pages from allowed origins may call the API."""

from __future__ import annotations

import pytest

from tests.conftest import Api

PAGE = "https://app.example.org"


@pytest.fixture
def listed(settings) -> None:
    settings.CORS_ALLOWED_ORIGINS = [PAGE]
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "corsheaders"]
    first, *others = settings.MIDDLEWARE
    settings.MIDDLEWARE = [first, "corsheaders.middleware.CorsMiddleware", *others]


def preflight(api: Api, origin: str):
    return api.request("OPTIONS", "/memories", origin=origin, access_control_request_method="POST")


def test_no_page_may_call_unless_it_is_listed(api: Api) -> None:
    assert "Access-Control-Allow-Origin" not in api.get("/stats", origin=PAGE).headers
    assert "Access-Control-Allow-Origin" not in preflight(api, PAGE).headers


def test_a_listed_page_may_call_with_our_headers_and_read_ours(api: Api, listed: None) -> None:
    preflighted, response = preflight(api, PAGE), api.get("/stats", origin=PAGE)

    assert preflighted.status_code == 200
    assert preflighted["Access-Control-Allow-Origin"] == response["Access-Control-Allow-Origin"] == PAGE
    assert {"authorization", "x-tenant", "idempotency-key", "if-match"} <= set(
        preflighted["Access-Control-Allow-Headers"].split(", ")
    )
    assert "etag" in response["Access-Control-Expose-Headers"].split(", ")
    assert "Access-Control-Allow-Credentials" not in response.headers


def test_a_listed_page_can_read_errors_too(api: Api, listed: None) -> None:
    refused = api.get("/memories/1", authorization="Bearer nonsense", origin=PAGE)
    too_big = api.request("POST", "/memories", raw=b"{}", content_length=str(2**40), origin=PAGE)

    assert refused.status_code == 401
    assert refused["Access-Control-Allow-Origin"] == PAGE
    assert too_big.status_code == 413
    assert too_big["Access-Control-Allow-Origin"] == PAGE


def test_another_page_stays_outside(api: Api, listed: None) -> None:
    assert "Access-Control-Allow-Origin" not in api.get("/stats", origin="https://elsewhere.example.org").headers
