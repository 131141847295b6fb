"""The reference pages match the code. `make reference` updates the generated ones."""

from __future__ import annotations

import importlib.util
import re
import sys
from types import ModuleType

import pytest
from django.test import Client

from api.app import api
from testing.processes import HOME


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference", HOME / "scripts" / "reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["reference"] = module
    spec.loader.exec_module(module)
    return module


def test_the_generated_pages_are_up_to_date(reference: ModuleType) -> None:
    outdated = [path.relative_to(HOME).as_posix() for path in reference.stale()]

    assert outdated == [], "run `make reference`"


def test_every_error_code_has_a_remedy_and_no_other(reference: ModuleType) -> None:
    assert set(reference.error_classes()) == set(reference.REMEDIES)


def test_every_code_named_for_a_route_exists(reference: ModuleType) -> None:
    codes = [code for names in (*reference.ROUTES.values(), *reference.GROUPS.values()) for code in names]
    named = set(codes) - set(reference.GROUPS)

    assert named | {*reference.COMMON, *reference.BODY, *reference.ONCE} <= set(reference.REMEDIES)


def test_every_route_with_its_own_codes_exists(reference: ModuleType) -> None:
    paths = api.get_openapi_schema(path_prefix="/")["paths"]
    routes = {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}

    assert set(reference.ROUTES) <= routes


def test_every_parameter_and_every_field_is_explained(reference: ModuleType) -> None:
    contract = api.get_openapi_schema(path_prefix="/")
    unexplained = [
        f"{method.upper()} {path}.{parameter['name']}"
        for path, methods in contract["paths"].items()
        for method, operation in methods.items()
        for parameter in operation.get("parameters", ())
        if not reference.meaning(f"{method.upper()} {path}", parameter["name"])
    ] + [
        f"{name}.{field}"
        for name, schema in contract["components"]["schemas"].items()
        if not name.endswith("Params")  # the parameters above
        for field in schema.get("properties", ())
        if not reference.meaning(name, field)
    ]

    assert unexplained == [], "add them to api/contract/texts.toml"


def test_every_metric_is_documented_and_no_other(db: None) -> None:
    page = (HOME / "docs" / "reference" / "metrics.md").read_text()
    documented = set(re.findall(r"`(soma_\w+)`", page))
    exposed = re.findall(r"^# TYPE (soma_\w+)", Client().get("/metrics").content.decode(), re.MULTILINE)

    assert documented == {name for name in exposed if not name.endswith("_created")}


def test_the_logo_of_the_documentation_is_the_icon_of_the_console() -> None:
    assert (HOME / "docs/assets/icon.svg").read_bytes() == (HOME / "console/static/console/icon.svg").read_bytes()
