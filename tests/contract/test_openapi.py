"""The OpenAPI document matches the application.

The responses to valid and invalid requests have a documented status, content type and schema, and are never 5xx.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import CheckFunction, not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from somamemory.wsgi import application
from tests.conftest import Api
from tests.support.openapi_requests import Request, requests_for, without_header

CHECKS: list[CheckFunction] = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
EXAMPLES = 12
PLAIN = {"Accept-Encoding": "identity"}  # the tests' client cannot decompress


def served(environ: Any, start_response: Any) -> Any:
    """Call the application. Unlike a server, do not close the test's database connection after the request."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)  # Django's own test client connects it again
    return application(environ, start_response)


document = schemathesis.openapi.from_wsgi("/api/v1/openapi.json", served)
document.config.generation.update(modes=[GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
bounded = settings(
    max_examples=EXAMPLES,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(autouse=True)
def _leaves_the_signals_as_they_were() -> Iterator[None]:
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


def operations(path: str = "") -> pytest.MarkDecorator:
    """Parametrize a test with the operations whose path contains `path`.

    `document.parametrize()` would build the cases of all operations in each test process, which takes 10 s.
    """
    results = list(document.include(path_regex=path).get_all_operations())
    found = [result.ok() for result in results if isinstance(result, Ok)]
    assert len(found) == len(results), results  # a malformed operation is not Ok
    return pytest.mark.parametrize("operation", found, ids=[operation.label for operation in found])


def check_responses(operation: Any, requests: list[Request], key: str) -> None:
    """Send requests for an operation, and check the responses against the document."""
    case = operation.Case()
    for request in requests:
        response = request.send(served, key)
        # TRACE, for example, gets a response that does not belong to this operation.
        checks = CHECKS if request.method_is_documented else [not_a_server_error]
        try:
            case.validate_response(response, checks=checks)
        except Exception as error:
            error.add_note(f"the request was {request}")
            raise


def without_tenant(operation: Any) -> list[Request]:
    """A header for another tenant would turn nearly every response into a 403."""
    return without_header("HTTP_X_TENANT", requests_for(operation, bounded))


@operations()
def test_responses_to_a_tenant_match_the_document(operation: Any, api: Api) -> None:
    check_responses(operation, without_tenant(operation), api.key)


@operations("/tenants")
def test_responses_to_an_operator_match_the_document(operation: Any, operator: Api) -> None:
    check_responses(operation, without_tenant(operation), operator.key)


@operations()
def test_responses_without_a_key_match_the_document(operation: Any, db: None) -> None:
    """Every request is rejected because it has no key, so the last two requests, which are random, are enough."""
    check_responses(operation, requests_for(operation, bounded)[-2:], "")


@pytest.mark.parametrize("mode", ["hybrid", "semantic", "keyword"])
def test_a_search_that_finds_is_of_the_published_shape(api: Api, mode: str) -> None:
    api.store("1", "an aardvark", metadata={"a": 1}, expires_at="2999-01-01T00:00:00Z")
    operation = document["/api/v1/memories/search"]["POST"]

    case = operation.Case(
        body={"query": "aardvark", "mode": mode, "explain": True, "consistency": "strong"},
        media_type="application/json",
    )
    response = case.call(headers={**PLAIN, "Authorization": f"Bearer {api.key}"})

    assert response.json()["memories"]
    case.validate_response(response, checks=CHECKS)


@pytest.mark.parametrize("path", ["/api/v1/memories", "/api/v1/stats"])
def test_responses_have_the_published_shape(api: Api, path: str) -> None:
    api.store("1", "an aardvark", metadata={"a": 1}, expires_at="2999-01-01T00:00:00Z")
    api.store("2")
    api.delete("/memories/2")
    case = document[path]["GET"].Case(query={"include_deleted": "true"} if path.endswith("memories") else {})

    response = case.call(headers={**PLAIN, "Authorization": f"Bearer {api.key}"})

    assert response.status_code == 200
    case.validate_response(response, checks=CHECKS)


@pytest.mark.parametrize("status", ["400", "408", "414", "431"])
def test_every_route_documents_what_the_server_answers_before_it(status: str) -> None:
    paths = document.raw_schema["paths"]
    missing = [
        f"{method} {path}"
        for path, methods in paths.items()
        for method, operation in methods.items()
        if "application/problem+json" not in operation["responses"].get(status, {}).get("content", {})
    ]

    assert missing == []


@pytest.mark.parametrize("name", ["ConversationBody", "MessageBody"])
def test_metadata_that_may_be_null_is_published_as_nullable(api: Api, name: str) -> None:
    published = document.raw_schema["components"]["schemas"][name]["properties"]["metadata"]
    message = {"role": "user", "content": "hello", "metadata": None}

    response = api.post("/api/v1/conversations", {"messages": [message], "metadata": None})

    assert {"type": "null"} in published["anyOf"]
    assert response.status_code == 201
    assert response.json()["metadata"] == {}
