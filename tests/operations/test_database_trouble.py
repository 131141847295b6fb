"""If the database is slow, locked, disconnected or down, requests fail with 503 immediately and change nothing."""

from __future__ import annotations

import sqlite3
import time

import pytest
from django.core.management import CommandError
from django.db import InternalError, OperationalError, connection

from memories import retention
from memories.models import Memory, MemoryVersion, VectorEmbedding
from operations import health
from somamemory.db import sqlstate
from somamemory.db.rows import Part
from somamemory.web import readiness
from somamemory.web.readiness import Readiness
from tenants import audit
from tenants.management.command_line import errors_as_one_line
from tests.conftest import Api, problem_of
from tests.support.conversations import begin


def failing_with(code: str | None, kind: type[Exception] = OperationalError) -> Exception:
    """Create an error as raised by Django, with PostgreSQL's code in its cause."""
    error, cause = kind("made up"), Exception()
    cause.sqlstate = code  # type: ignore[attr-defined]
    error.__cause__ = cause
    return error


def fail_first(monkeypatch, times: int, error: Exception) -> list[int]:
    """Make the audit, the last statement of a store request, fail this many times."""
    events, tries = audit.events, [0]

    def failing(*args, **kwargs) -> Part:
        tries[0] += 1
        if tries[0] <= times:
            raise error
        return events(*args, **kwargs)

    monkeypatch.setattr(audit, "events", failing)
    return tries


@pytest.mark.django_db(transaction=True)
def test_a_command_reports_a_database_error_in_one_line() -> None:
    with pytest.raises(CommandError, match=r"^the database reports: .*\bmissing\b") as caught, errors_as_one_line():
        connection.cursor().execute("SELECT 1 FROM missing")

    assert "\n" not in str(caught.value)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("code", [sqlstate.DEADLOCK_DETECTED, sqlstate.SERIALIZATION_FAILURE])
def test_a_store_that_lost_a_deadlock_is_done_again(api: Api, monkeypatch, code: str) -> None:
    tries = fail_first(monkeypatch, 2, failing_with(code))

    assert api.store("1")["version"] == 1
    assert tries == [3]


@pytest.mark.django_db(transaction=True)
def test_a_store_with_an_idempotency_key_that_lost_a_deadlock_is_done_again(api: Api, monkeypatch) -> None:
    tries = fail_first(monkeypatch, 2, failing_with(sqlstate.DEADLOCK_DETECTED))
    body = {"coord": "1", "payload": {}}

    first = api.post("/memories", body, idempotency_key="one")
    again = api.post("/memories", body, idempotency_key="one")

    assert (first.status_code, again.json()) == (201, first.json())
    assert tries == [3]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/memories/delete", {"all": True}),
        ("/memories/restore", {"coord": "2"}),
        ("/memories/restore", {"coord": "2", "version": 1}),
    ],
)
def test_a_deletion_or_restoration_that_lost_a_deadlock_is_done_again(api: Api, monkeypatch, path, body) -> None:
    api.store("1")
    api.store("2")
    api.delete("/memories/2")
    tries = fail_first(monkeypatch, 2, failing_with(sqlstate.DEADLOCK_DETECTED))

    assert api.post(path, body).status_code == 200
    assert tries == [3]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/messages", {"messages": [{"role": "user", "content": "two"}]}),
        ("PATCH", "", {"user_id": "ada"}),
        ("DELETE", "", None),
        ("DELETE", "?purge=true", None),
    ],
)
def test_a_change_of_a_conversation_that_lost_a_deadlock_is_done_again(
    api: Api, monkeypatch, method: str, path: str, body: object
) -> None:
    id = begin(api, "one")["id"]
    fail_first(monkeypatch, 2, failing_with(sqlstate.DEADLOCK_DETECTED))

    assert api.request(method, f"/api/v1/conversations/{id}{path}", body).status_code < 300


@pytest.mark.django_db(transaction=True)
def test_the_retention_continues_after_a_lost_deadlock(api: Api, monkeypatch, settings) -> None:
    settings.RETENTION_DAYS = settings.HISTORY_DAYS = 0
    api.store("1")
    api.store("1")
    api.store("2")
    api.delete("/memories/2")
    tries = fail_first(monkeypatch, 2, failing_with(sqlstate.DEADLOCK_DETECTED))

    retention.tidy()

    assert tries == [3]
    assert [memory.coordinate.text for memory in Memory.all_tenants.all()] == ["1.0"]
    assert not MemoryVersion.all_tenants.exists()


@pytest.mark.django_db(transaction=True)
def test_a_purge_of_links_that_lost_a_deadlock_is_done_again(api: Api, monkeypatch) -> None:
    api.post("/graph/link", {"from_coord": "1", "to_coord": "2", "namespace": "a"})
    tries = fail_first(monkeypatch, 2, failing_with(sqlstate.DEADLOCK_DETECTED))

    assert api.post("/api/v1/namespaces/delete", {"namespace": "a", "purge": True}).json()["links"] == 1
    assert tries == [4]  # the last one records the deletion of the namespace


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("code", [sqlstate.DEADLOCK_DETECTED, sqlstate.QUERY_CANCELED, sqlstate.LOCK_NOT_AVAILABLE])
def test_a_store_that_never_succeeds_is_503_and_leaves_nothing(api: Api, monkeypatch, code: str) -> None:
    fail_first(monkeypatch, 100, failing_with(code))

    response = api.post("/memories", {"coord": "1", "payload": {}})

    problem_of(response, 503, "database_busy")
    assert response["Retry-After"] == "1"
    assert not Memory.all_tenants.exists()
    assert not VectorEmbedding.all_tenants.exists()


def test_a_primary_that_has_become_a_replica_is_503(api: Api, monkeypatch) -> None:
    fail_first(monkeypatch, 100, failing_with(sqlstate.READ_ONLY, InternalError))

    problem_of(api.post("/memories", {"coord": "1", "payload": {}}), 503, "database_busy")


def test_an_error_of_our_own_making_is_not_blamed_on_the_database(api: Api, monkeypatch) -> None:
    fail_first(monkeypatch, 100, failing_with("42P01", InternalError))

    problem_of(api.post("/memories", {"coord": "1", "payload": {}}), 500, "internal_error")


@pytest.mark.parametrize(
    ("name", "busy"), [("SQLITE_BUSY_SNAPSHOT", True), ("SQLITE_LOCKED", True), ("SQLITE_ERROR", False)]
)
def test_sqlite_is_busy_when_it_is_locked_and_not_when_it_cannot_take_a_statement(name: str, busy: bool) -> None:
    error, cause = OperationalError("made up"), sqlite3.OperationalError()
    cause.sqlite_errorname = name
    error.__cause__ = cause

    assert sqlstate.is_busy(error) is busy


@pytest.mark.django_db
def test_only_a_recent_result_replaces_a_readiness_check(api: Api, monkeypatch) -> None:
    monkeypatch.setattr(readiness, "_last", Readiness(False, "made up"))
    assert api.get("/readyz").json() == {"ready": False, "reason": "made up"}

    monkeypatch.setattr(readiness, "_last", Readiness(False, "made up", at=time.monotonic() - 4))
    assert api.get("/readyz").json() == {"ready": True}


@pytest.mark.django_db
def test_the_result_of_a_regular_readiness_check_is_recorded(monkeypatch) -> None:
    monkeypatch.setattr(readiness, "_last", None)

    health.refresh_readiness()

    recorded = readiness.last()
    assert recorded is not None
    assert recorded.ready
