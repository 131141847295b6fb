"""Validation errors have our own wording instead of pydantic's."""

from __future__ import annotations

import importlib
import math
import re
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError
from pydantic_core import _pydantic_core

from api.compat.mem0.schemas import AddBody
from api.field_errors import _OTHER, field_errors, message
from api.memories.schemas import StoreBody
from api.schemas import Body, Params
from api.search.schemas import SearchBody
from somamemory.errors import SomaError

PYDANTIC = re.compile(
    r"should|Input|Value|String|List|Dictionar|after validation|[Ff]ield required|[Ee]xtra"
    r"|valid (string|integer|number)|pydantic|keyword argument|instance|unable to|UUID:|JSON schema"
)
ROOMS = ("conversations", "enrichment", "graph", "map", "memories", "operations", "tenants")
SAMPLES: list[Any] = [
    None, True, 1.5, -1, 10**18, 10**400, 1e308, math.nan, math.inf, "", " ", "x", "1", "x" * 200_000, "\0", "\ud800",
    "1e999", "a,a", "2026-02-31", "2026-02-31T00:00:00Z", [], {}, [1], [None], ["", "\0"], ["x"] * 2000, [{"x": 1}],
    {"x": 1}, {"hops": 99, "link_type": [""]}, {"mode": 1, "threshold_days": "x"}, {"memories": -1, "bytes": 2**63},
]  # fmt: skip


def _inputs() -> list[type[BaseModel]]:
    for room in ROOMS:
        importlib.import_module(f"api.{room}.schemas")
    importlib.import_module("api.tenants.routes")

    def below(schema: type[BaseModel]) -> list[type[BaseModel]]:
        return [deeper for child in schema.__subclasses__() for deeper in (child, *below(child))]

    return sorted({*below(Body), *below(Params)}, key=lambda schema: schema.__name__)


def _errors(schema: type[BaseModel], raw: Any) -> list[Any]:
    try:
        schema.model_validate(raw)
    except ValidationError as error:
        return error.errors(include_url=False)
    except SomaError:  # coordinates have their own error messages
        pass
    return []


@pytest.mark.parametrize("schema", _inputs(), ids=lambda schema: schema.__name__)
def test_no_schema_answers_a_bad_value_in_the_words_of_pydantic(schema: type[BaseModel]) -> None:
    texts_only = issubclass(schema, Params)  # query strings contain only text
    values = [value for value in SAMPLES if isinstance(value, str) or not texts_only]
    bodies = [] if texts_only else SAMPLES

    for errors in (
        _errors(schema, raw)
        for raw in [{}, *bodies, *({name: value} for name in schema.model_fields for value in values)]
    ):
        for error in errors:
            assert message(error) != _OTHER, error["type"]
        for field, text in field_errors(errors):
            assert not PYDANTIC.search(text), (field, text)


@pytest.mark.parametrize("error", _pydantic_core.list_all_errors(), ids=lambda error: error["type"])
def test_every_error_of_pydantic_has_a_message_of_ours(error: Any) -> None:
    if error["type"] in ("value_error", "assertion_error"):
        return  # our own text
    context = {"field_type": "List", **(error["example_context"] or {})}
    text = message({"type": error["type"], "msg": error["example_message_python"], "ctx": context})

    assert text
    assert not PYDANTIC.search(text.replace(str(context.get("pattern")), ""))
    assert error["example_message_python"] not in text


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ({"type": "too_short", "ctx": {"field_type": "Value", "min_length": 1}}, "must have at least 1 character"),
        ({"type": "too_long", "ctx": {"field_type": "List", "max_length": 9}}, "must have at most 9 items"),
        ({"type": "less_than_equal", "ctx": {"le": 10}}, "must be 10 or less"),
        ({"type": "literal_error", "ctx": {"expected": "'a' or 'b'"}}, "must be 'a' or 'b'"),
        ({"type": "value_error", "msg": "Value error, must be a day"}, "must be a day"),
        ({"type": "some_new_error", "msg": "Input should be new"}, _OTHER),
    ],
)
def test_a_message_names_the_problem_and_the_limit(error: dict[str, Any], expected: str) -> None:
    assert message(error) == expected


def test_the_name_of_a_field_has_no_steps_of_pydantic_in_it() -> None:
    error = {"type": "missing", "loc": ("items", 0, "function-plain[x]", "coord")}

    assert field_errors([error]) == [("items.0.coord", "is required")]
    assert field_errors([{"type": "model_type", "loc": ()}]) == [("body", "must be an object")]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"payload": {}, "source": {"a": "x" * 5000}}, [("source", "must be at most 4096 bytes long as JSON")]),
        ({"payload": {}, "source": 5}, [("source", "must be text")]),
    ],
)
def test_an_object_that_may_also_be_text_is_not_called_the_wrong_type(
    body: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    assert field_errors(_errors(StoreBody, body)) == expected


@pytest.mark.parametrize(
    ("namespace", "expected"),
    [
        (["a"] * 101, [("namespace", "must have at most 100 items")]),
        ([], [("namespace", "must have at least 1 item")]),
        (["a", 5], [("namespace.1", "must be text")]),
        (5, [("namespace", "must be text")]),
    ],
)
def test_a_list_that_may_also_be_text_is_not_called_the_wrong_type(
    namespace: Any, expected: list[tuple[str, str]]
) -> None:
    assert field_errors(_errors(SearchBody, {"query": "tea", "namespace": namespace})) == expected


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([], [("messages", "must have at least 1 item")]),
        ([{"role": "assistant", "content": None}], [("messages.0.content", "must be text")]),
        ({"role": "assistant", "content": None}, [("messages.content", "must be text")]),
        (5, [("messages", "must be a list")]),
    ],
)
def test_a_list_that_may_also_be_an_object_is_not_called_the_wrong_type(
    messages: Any, expected: list[tuple[str, str]]
) -> None:
    assert field_errors(_errors(AddBody, {"user_id": "ada", "messages": messages})) == expected
