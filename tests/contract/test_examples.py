"""The OpenAPI document describes everything, and its examples can be sent unchanged."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from typing import Any

import jsonschema_rs
import pytest

from api.app import api as ninja_api
from api.contract.examples import EXAMPLES, NEED_LANGUAGE_MODEL, filled
from tests.conftest import Api, drain

DOCUMENT: dict[str, Any] = dict(ninja_api.get_openapi_schema())
OPERATIONS = {
    operation["operationId"]: (method.upper(), path, operation)
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
}

FILES = {"conversations.import request"}  # any file, including JSON


def published_contents() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the content of every request and every successful response."""
    for name, (_, _, operation) in OPERATIONS.items():
        parts = {"request": operation.get("requestBody", {}), **operation["responses"]}
        for part, value in parts.items():
            if content := value.get("content", {}).get("application/json"):
                yield f"{name} {part}", content


def test_every_operation_has_a_summary_and_a_description() -> None:
    for name, (_, _, operation) in OPERATIONS.items():
        assert operation["summary"], name
        assert operation["description"], name
        assert not operation["summary"].endswith("."), name


def test_every_request_and_every_response_has_an_example() -> None:
    assert [where for where, content in published_contents() if "example" not in content] == []


def test_every_required_parameter_has_an_example_and_no_optional_one_that_is_not_needed() -> None:
    for name, (_, _, operation) in OPERATIONS.items():
        example = EXAMPLES.get(name)
        for parameter in operation["parameters"]:
            needed = parameter["required"] or (example and parameter["name"] in example.query)
            assert ("example" in parameter) is bool(needed), (name, parameter["name"])


def test_every_parameter_and_every_property_has_a_description() -> None:
    parameters = [
        f"{name}.{parameter['name']}"
        for name, (_, _, operation) in OPERATIONS.items()
        for parameter in operation["parameters"]
        if not parameter.get("description")
    ]
    properties = [
        f"{name}.{field}"
        for name, schema in DOCUMENT["components"]["schemas"].items()
        for field, value in schema.get("properties", {}).items()
        if not value.get("description")
    ]

    assert parameters + properties == [], "add them to api/contract/texts.toml"


def test_no_description_leads_to_a_page_outside_the_document() -> None:
    properties = [v for s in DOCUMENT["components"]["schemas"].values() for v in s.get("properties", {}).values()]

    assert [value for value in properties if "](" in value["description"]] == []


@pytest.mark.parametrize("header", ["X-Tenant", "traceparent"])
def test_every_route_with_a_key_documents_the_headers_that_it_takes(header: str) -> None:
    for name, (_, _, operation) in OPERATIONS.items():
        names = {parameter["name"] for parameter in operation["parameters"] if parameter["in"] == "header"}
        assert header in names or (name.startswith("health.") and header == "X-Tenant"), name


@pytest.mark.parametrize(
    ("where", "content"), [pytest.param(*both, id=both[0]) for both in published_contents() if both[0] not in FILES]
)
def test_every_example_is_of_its_schema(where: str, content: dict[str, Any]) -> None:
    schema = {**content["schema"], "components": DOCUMENT["components"]}

    jsonschema_rs.validate(schema, content["example"])


def test_every_example_belongs_to_an_operation() -> None:
    assert set(EXAMPLES) <= set(OPERATIONS)


def test_the_examples_succeed_one_after_the_other(operator: Api) -> None:
    kept: dict[str, str] = {}
    for name, example in EXAMPLES.items():
        if name in NEED_LANGUAGE_MODEL:
            continue
        response = send(operator, name, kept)
        assert response.status_code < 300, (name, response.getvalue())
        drain()
        for key, path in example.keeps.items():
            kept[key] = reduce(_part, path.split("."), response.json())


def _part(value: Any, name: str) -> Any:
    return value[int(name) if name.isdigit() else name]


def send(operator: Api, name: str, kept: dict[str, str]) -> Any:
    method, path, operation = OPERATIONS[name]
    example = EXAMPLES[name]
    for parameter, value in filled(example.path, kept).items():
        path = path.replace("{" + parameter + "}", value)
    query = "&".join(f"{parameter}={value}" for parameter, value in filled(example.query, kept).items())
    media = next(iter(operation.get("requestBody", {}).get("content", {})), "application/json")
    return operator.request(
        method, f"{path}?{query}" if query else path, filled(example.body, kept), None, content_type=media
    )
