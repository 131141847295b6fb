"""Backpressure: a long queue rejects only the writes of the tenant that fills it, and operators see the cause."""

from __future__ import annotations

from typing import Any

import pytest
from django.conf import settings
from django.core.management import call_command

from memories.index import backpressure
from memories.models import VectorEmbedding
from tenants.models import Tenant
from tests.conftest import Api, drain, problem_of


@pytest.fixture
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "MAX_BACKLOG", 2)


@pytest.mark.usefixtures("_short")
def test_a_tenant_whose_queue_is_too_long_may_not_write_while_others_may(api: Api, stranger: Api) -> None:
    for number in range(3):
        backpressure.forget_cached()
        api.store(str(number))
    backpressure.forget_cached()
    refused = api.post("/memories", {"coord": "9", "payload": {}})
    problem_of(refused, 429, "index_backlog")
    assert int(refused["Retry-After"]) > 0
    problem_of(api.patch("/memories/1", {"importance": 1}), 429, "index_backlog")
    assert api.get("/memories/1").status_code == 200
    assert api.delete("/memories/1").status_code == 200
    stranger.store("1")
    drain()
    backpressure.forget_cached()
    api.store("9")


def test_statistics_say_how_long_the_oldest_has_waited(api: Api) -> None:
    assert api.get("/stats").json()["index"]["oldest_due_seconds"] == 0
    api.store("1")
    rows = VectorEmbedding.objects.for_tenant(api.tenant)
    row = rows.get()
    rows.update(due_at=row.due_at.replace(year=row.due_at.year - 1))
    assert api.get("/stats").json()["index"]["oldest_due_seconds"] > 300 * 24 * 3600


def test_an_operator_sees_why_rows_fail_and_has_them_tried_again(api: Api, capsys: Any) -> None:
    Tenant.objects.get_or_create(slug="default")
    api.store("1")
    VectorEmbedding.objects.for_tenant(api.tenant).update(attempts=5, error="the key is wrong")
    call_command("index_status")
    output = capsys.readouterr().out
    assert "acme" in output
    assert "the key is wrong" in output
    call_command("retry_failed", "--tenant", "acme")
    assert "1 memories" in capsys.readouterr().out
    assert VectorEmbedding.objects.for_tenant(api.tenant).get().attempts == 0
    drain()
    call_command("index_status")
    assert "No memories await indexing" in capsys.readouterr().out
