"""Trigger an error, a delay and a crash at every failpoint, and check the invariants after a restart."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings

from somamemory import failpoints
from testing import ROOT
from testing.crossings import KILLED, Crossings, crossings
from tests.support.databases import own_database

pytestmark = [pytest.mark.server, pytest.mark.long]

# The work during which these calls are made, and their failpoints are reached
CROSSED_BY = {"call.embedder": "drain", "call.vector_index": "drain", "call.cold_storage": "tiers"}
ELSEWHERE = {"call.language_model", "call.redis"}  # tested below, without a scenario
SCENARIOS = ("drain", "rebuild", "tiers", "backup", "erase")


def scenario_of(name: str) -> str:
    return CROSSED_BY.get(name, name.partition(".")[0])


CROSSED = [name for name in failpoints.NAMES if name not in ELSEWHERE]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crossings]:
    data = tmp_path_factory.mktemp("crossings")
    with own_database() as url, crossings(data, url, settings.REDIS_URL) as opened:
        assert opened.run("installation", "prepare", "default")["error"] == ""
        yield opened


def prepared(running: Crossings, scenario: str) -> str:
    slug = f"t{uuid.uuid4().hex[:12]}"
    assert running.run(scenario, "prepare", slug)["error"] == ""
    return slug


def crash(name: str) -> Any:
    """A rebuild takes seconds. On PostgreSQL, the tests for errors and delays below cover its steps."""
    return pytest.param(name, marks=[pytest.mark.once] if name.startswith("rebuild.") else [])


@pytest.mark.parametrize("name", [crash(name) for name in CROSSED])
def test_a_crash_at_a_failpoint_breaks_no_invariant(running: Crossings, name: str) -> None:
    scenario = scenario_of(name)
    slug = prepared(running, scenario)

    acted = running.run(scenario, "act", slug, {name: "kill"})

    assert acted["status"] == KILLED, acted["error"]
    assert running.run(scenario, "check", slug)["error"] == ""


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_an_error_at_each_failpoint_in_turn_breaks_no_invariant(running: Crossings, scenario: str) -> None:
    slug = prepared(running, scenario)
    left = {name for name in CROSSED if scenario_of(name) == scenario}

    while left:
        acted = running.run(scenario, "act", slug, dict.fromkeys(left, "error"))
        assert "Traceback" not in acted["error"], acted["error"]
        assert acted["reached"], f"never reached: {left}"
        left -= set(acted["reached"])

    assert running.run(scenario, "check", slug)["error"] == ""


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_delay_at_every_failpoint_breaks_no_invariant(running: Crossings, scenario: str) -> None:
    slug = prepared(running, scenario)
    names = {name for name in CROSSED if scenario_of(name) == scenario}

    acted = running.run(scenario, "act", slug, dict.fromkeys(names, "delay"))

    assert acted["error"] == ""
    assert set(acted["reached"]) == names
    assert running.run(scenario, "check", slug)["error"] == ""


def test_every_failpoint_is_in_the_code_once() -> None:
    code = [path.read_text() for path in ROOT.rglob("*.py") if path.parts[len(ROOT.parts)] not in ("tests", ".venv")]
    used = [name for text in code for name in re.findall(r'failpoints\.reach\("([a-z_.]+)"\)', text)]

    used.remove("call.vector_index")  # once per engine that makes calls outside the database: local and milvus
    assert sorted(used) == sorted(failpoints.NAMES)
