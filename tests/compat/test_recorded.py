"""Recorded requests from real clients get the responses that were recorded: see scripts/compat/record.py."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tenants.models import Tenant
from tests.conftest import Api, drain

ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
FOLDER = Path(__file__).parent / "recorded"


def recorded(product: str) -> list[dict[str, Any]]:
    shapes, *exchanges = [json.loads(line) for line in (FOLDER / f"{product}.jsonl").read_text().splitlines()]
    return [{**exchange, "shape": shapes[exchange["shape"]]} for exchange in exchanges]


def replay(api: Api, exchanges: list[dict[str, Any]]) -> list[Any]:
    """Send the requests in order, with the ids of this database. Return the exchanges that differ."""
    ours: dict[str, str] = {}
    nobody = Api("", Tenant())
    differing = []
    written = False
    for exchange in exchanges:
        if written and ("query" in exchange["path"] or "search" in exchange["path"]):
            drain()
            written = False
        path = renamed(exchange["path"], ours)
        body = json.loads(renamed(json.dumps(exchange["body"]), ours))
        response = (api if exchange["key"] else nobody).request(exchange["method"], path, body)
        content = response.getvalue().decode()
        written |= exchange["method"] != "GET"
        if response.status_code != exchange["status"] or not fits(exchange["shape"], parsed(content)):
            differing.append((exchange, response.status_code, content[:500]))
        ours |= pairs(exchange["ids"], content, ours)
    return differing


def renamed(text: str, ours: dict[str, str]) -> str:
    for theirs, id in ours.items():
        if theirs in text:
            text = text.replace(theirs, id)
    return text


def pairs(theirs: list[str], content: str, known: dict[str, str]) -> dict[str, str]:
    """Map the recorded ids to ours, by their order in the response."""
    found = list(dict.fromkeys(ID.findall(content)))
    return {old: new for old, new in zip(theirs, found, strict=False) if old not in known}


def parsed(content: str) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return None


def fits(shape: Any, value: Any) -> bool:
    """Return whether a value has the fields and types of a shape. Null and empty lists fit every shape."""
    if shape == "any" or value is None:
        return True
    if isinstance(shape, dict):
        return isinstance(value, dict) and all(
            name in value and fits(expected, value[name]) for name, expected in shape.items()
        )
    if isinstance(shape, list):
        return isinstance(value, list) and (not shape or not value or fits(shape[0], value[0]))
    return bool(shape == ("number" if isinstance(value, int | float) else type(value).__name__))


@pytest.fixture
def somafractalmemory(settings: Any) -> None:
    settings.ROOT_URLCONF = "tests.compat.somafractalmemory_urls"
    settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if not name.endswith("RootAliases")]


def test_three_hundred_exchanges_of_sekhas_clients(api: Api) -> None:
    exchanges = recorded("sekha")

    assert len(exchanges) == 300
    assert replay(api, exchanges) == []


@pytest.mark.usefixtures("somafractalmemory")
def test_three_hundred_exchanges_of_somafractalmemorys_clients(api: Api) -> None:
    exchanges = recorded("somafractalmemory")

    assert len(exchanges) == 300
    assert replay(api, exchanges) == []
