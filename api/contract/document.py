"""Complete the OpenAPI document: summaries, descriptions, headers and examples."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from api.contract.examples import EXAMPLES, SAMPLES, Example, filled
from api.contract.samples import sample
from api.contract.texts import meaning, plain
from api.request import Policy
from somamemory.web.problems import PROBLEM

Json = dict[str, Any]
Route = tuple[str, str]

PREFIX = "/api/v1"
TENANT, TRACEPARENT = "X-Tenant", "traceparent"
_FIRST_SENTENCE = re.compile(r"(.+?[.:])(?:\s|$)", re.DOTALL)


def complete(schema: Json, policies: Mapping[Route, Policy], open_routes: set[str]) -> None:
    """Add everything that Ninja cannot generate.

    open_routes: the paths that need no key.
    """
    components = schema["components"]["schemas"]
    for path, methods in schema["paths"].items():
        route = path.removeprefix(PREFIX)
        for method, operation in methods.items():
            policy = policies[method.upper(), route]
            headers = [_header(name) for name in _headers(policy, needs_key=route not in open_routes)]
            operation.setdefault("parameters", []).extend(headers)
            _describe(operation, f"{method.upper()} {route}")
            _add_examples(operation, components)
    for name, component in components.items():
        for field, value in component.get("properties", {}).items():
            value.setdefault("description", plain(meaning(name, field)))


def _describe(operation: Json, route: str) -> None:
    text = re.sub(r"(?<!\n)\n(?!\n)", " ", (operation.get("description") or operation["summary"]).strip())
    first = _FIRST_SENTENCE.match(text)
    operation["description"] = text
    operation["summary"] = (first[1] if first else text).rstrip(".:")
    for parameter in operation.get("parameters", ()):
        parameter.setdefault("description", plain(meaning(route, parameter["name"])))


def _headers(policy: Policy, *, needs_key: bool) -> Iterator[str]:
    if policy.conditional and policy.writes:
        yield "If-Match"
    if policy.conditional:
        yield "If-None-Match"
    if needs_key:
        yield TENANT
    yield TRACEPARENT


def _header(name: str) -> Json:
    return {"name": name, "in": "header", "required": False, "schema": {"type": "string"}}


def _add_examples(operation: Json, components: Mapping[str, Json]) -> None:
    example = EXAMPLES.get(operation["operationId"], Example())
    for parameter in operation["parameters"]:
        parameter["schema"].pop("example", None)  # the interactive page would send it
        given = filled({**example.path, **example.query}, SAMPLES).get(parameter["name"])
        if given is not None or parameter.get("required"):
            parameter["example"] = (
                sample(parameter["schema"], components, parameter["name"]) if given is None else given
            )
    for media, content in operation.get("requestBody", {}).get("content", {}).items():
        if example.body is not None and "json" in media:
            content["example"] = filled(example.body, SAMPLES)
        elif "schema" in content and "json" in media:
            content["example"] = sample(content["schema"], components, required_only=True)
    for response in operation["responses"].values():
        for media, content in response.get("content", {}).items():
            if media != PROBLEM and "schema" in content:
                content["example"] = sample(content["schema"], components)
