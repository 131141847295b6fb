"""Security headers in every response, and information that no response reveals."""

from __future__ import annotations

import contextlib

import pytest

from somamemory.web.security_headers import HEADERS
from tests.conftest import Api


@pytest.mark.parametrize(
    "path", ["/ping", "/memories/1", "/api/v1/openapi.json", "/nowhere", "/static/console/explorer.js"]
)
def test_a_response_that_is_not_a_page_allows_browsers_nothing(api: Api, path: str) -> None:
    with contextlib.closing(api.get(path)) as response:
        assert {name: response[name] for name in HEADERS} == HEADERS


def test_the_page_of_the_api_runs_scripts_of_this_server_only(api: Api) -> None:
    response = api.get("/api/v1/docs")

    assert "script-src 'self';" in response["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in response["Content-Security-Policy"]
    assert response["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("path", ["/memories/1", "/api/v1/tenants", "/admin/"])
def test_trace_is_not_an_allowed_method(api: Api, path: str) -> None:
    response = api.request("TRACE", path)

    assert response.status_code in (302, 405)
    assert b"TRACE" not in response.content


@pytest.mark.parametrize("path", ["/static/", "/static/console/"])
def test_no_folder_is_listed(api: Api, path: str) -> None:
    assert api.get(path).status_code == 404
