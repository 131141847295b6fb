"""Failpoints outside the scenarios of tests/processes/test_failpoints.py."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from django.core.cache import cache

from conversations.llm import wire
from somamemory import caching, failpoints
from somamemory.retry import RetryPolicy
from testing import ROOT
from testing.chat_provider import ChatProvider


def planned(patch: pytest.MonkeyPatch, **actions: str) -> failpoints.Plan:
    plan = failpoints.Plan({name.replace("__", "."): action for name, action in actions.items()})
    patch.setattr(failpoints, "reach", plan.reach)
    return plan


def test_without_a_plan_a_failpoint_does_nothing() -> None:
    assert failpoints.reach is failpoints._nothing


def test_a_failpoint_acts_once() -> None:
    plan = failpoints.Plan({"drain.read": "error"})

    with pytest.raises(failpoints.InjectedError):
        plan.reach("drain.read")
    plan.reach("drain.read")

    assert plan.reached == ["drain.read"]


@pytest.mark.parametrize("actions", [{"no.such": "kill"}, {"drain.read": "explode"}])
def test_an_unknown_name_or_action_is_refused(actions: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="unknown failpoint"):
        failpoints.Plan(actions)


@pytest.mark.server
def test_the_environment_sets_the_plan() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", "from somamemory import failpoints; failpoints.reach('drain.read')"],
        env={**os.environ, "SOMA_TEST_FAILPOINTS": "drain.read=kill"},
        cwd=ROOT,
        check=False,
    )

    assert ended.returncode == -9


@pytest.mark.redis
def test_an_error_of_redis_costs_the_cache_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = planned(monkeypatch, call__redis="error")

    assert caching.healthy() is False
    assert caching.healthy() is True
    assert plan.reached == ["call.redis"]
    cache.clear()


def test_an_error_of_a_language_model_call_is_retried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "RETRY", RetryPolicy(attempts=3, first_pause_s=0.01))
    plan = planned(monkeypatch, call__language_model="error")
    provider = ChatProvider()
    opened = wire.Wire(provider.url, {}, 5.0)

    answer = opened.post("/chat/completions", {"messages": [], "model": "tiny"})

    assert answer["choices"]
    assert plan.reached == ["call.language_model"]
    opened.close()
    provider.stop()
