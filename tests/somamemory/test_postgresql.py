"""PostgreSQL only: timeouts, broken connections and prepared statements."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import OperationalError, close_old_connections, connection, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.postgresql import base

from memories import namespaces, supersession
from memories.models import Memory, VectorEmbedding
from somamemory.db import sqlstate
from tenants import audit, keys, usage
from tenants.audit import sealing, verification
from tenants.caller import Caller
from tenants.models import Tenant
from testing.processes import wait_for
from tests.conftest import Api, problem_of

pytestmark = [pytest.mark.postgresql, pytest.mark.django_db(transaction=True)]


@contextmanager
def said(statement: str) -> Iterator[None]:
    """Run with a different session setting."""
    with connection.cursor() as cursor:
        cursor.execute(statement)
    try:
        yield
    finally:
        connection.close()


@contextmanager
def elsewhere() -> Iterator[BaseDatabaseWrapper]:
    """Another connection to the same database, like that of another process."""
    other = connection.copy()
    try:
        yield other
    finally:
        other.close()


@contextmanager
def database_gone(monkeypatch) -> Iterator[list[Any]]:
    """Make the database unreachable. The yielded list grows with each connection attempt."""
    tries: list[Any] = []
    connect = connection.get_new_connection

    def trying(parameters: Any) -> Any:
        tries.append(parameters)
        return connect(parameters)

    connection.close()
    monkeypatch.setitem(connection.settings_dict, "PORT", "1")
    monkeypatch.setattr(connection, "get_new_connection", trying)
    yield tries
    monkeypatch.undo()
    connection.close()


def test_a_session_has_its_time_outs() -> None:
    with connection.cursor() as cursor:
        for name, expected in {"statement_timeout": "30s", "lock_timeout": "10s"}.items():
            cursor.execute(f"SHOW {name}")
            assert cursor.fetchone() == (expected,)


def test_a_statement_that_takes_too_long_is_503(api: Api, monkeypatch) -> None:
    def slow(*args: object, **kwargs: object) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(5)")

    monkeypatch.setattr(audit, "events", slow)
    with said("SET statement_timeout = '50ms'"):
        problem_of(api.post("/memories", {"coord": "1", "payload": {}}), 503, "database_busy")

    assert not Memory.all_tenants.exists()


def test_a_lock_that_is_held_too_long_is_503(api: Api) -> None:
    api.store("1", "first")
    with elsewhere() as other, said("SET lock_timeout = '50ms'"):
        other.set_autocommit(False)
        with other.cursor() as cursor:
            cursor.execute("SELECT 1 FROM sfm_memories FOR UPDATE")
        problem_of(api.post("/memories", {"coord": "1", "payload": {"text": "second"}}), 503, "database_busy")
        other.rollback()

    assert api.get("/memories/1").json()["memory"]["payload"] == {"text": "first"}


def test_a_connection_cut_within_a_store_leaves_nothing_half_done(api: Api, monkeypatch) -> None:
    def cut(*args: object, **kwargs: object) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    with monkeypatch.context() as patched:
        patched.setattr(audit, "events", cut)
        problem_of(api.post("/memories", {"coord": "1", "payload": {}}), 503, "database_busy")

    close_old_connections()
    assert not Memory.all_tenants.exists()
    assert not VectorEmbedding.all_tenants.exists()
    assert api.store("1")["version"] == 1


def test_connections_closed_by_the_server_are_replaced(api: Api) -> None:
    api.store("1")
    with elsewhere() as other, other.cursor() as cursor:
        cursor.execute(
            "SELECT count(pg_terminate_backend(pid, 30000)) FROM pg_stat_activity "  # waits for the end of each
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )

    close_old_connections()  # a server does this before each request, but the test client does not
    assert api.get("/memories/1").status_code == 200


def test_a_connection_in_use_is_not_asked_whether_it_works(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    api.store("1")
    close_old_connections()
    api.get("/memories/1")
    monkeypatch.setattr(base.DatabaseWrapper, "is_usable", lambda self: pytest.fail("a round trip per request"))

    close_old_connections()
    assert api.get("/memories/1").status_code == 200


def test_without_a_database_every_answer_is_503_and_quick(api: Api, monkeypatch) -> None:
    api.store("1")
    with database_gone(monkeypatch) as tries:
        keys.forget_cached()
        problem_of(api.get("/memories/1"), 503, "database_busy")
        problem_of(api.post("/memories", {"coord": "2", "payload": {}}), 503, "database_busy")
        problem_of(api.post("/memories/search", {"query": "x"}), 503, "database_busy")
        assert api.get("/readyz").status_code == 503
        assert len(tries) == 4  # one each

    assert api.get("/memories/1").status_code == 200
    assert api.get("/memories/2").status_code == 404


def waiting(cursor: Any) -> bool:
    """Return whether a session is waiting for a lock in this database."""
    cursor.execute("SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")
    return cursor.fetchone() is not None


def test_a_real_deadlock_is_broken_and_both_writers_succeed(api: Api) -> None:
    """The other session has locked 2 and waits for 1. The store of 1 and 2 has locked 1 and waits for 2."""
    api.post("/memories/bulk", {"items": [{"coord": str(n), "payload": {}} for n in (1, 2)]})
    one, two = Memory.all_tenants.order_by("coordinate_key").values_list("seq", flat=True)
    holds = threading.Event()
    failed: list[OperationalError] = []

    def across() -> None:
        with elsewhere() as other:
            other.set_autocommit(False)
            with other.cursor() as cursor:
                cursor.execute("SET deadlock_timeout = '1min'")  # the store checks for deadlocks first and is cancelled
                cursor.execute("SELECT 1 FROM sfm_memories WHERE seq = %s FOR UPDATE", [two])
                holds.set()
                wait_for(lambda: waiting(cursor))
                try:
                    cursor.execute("SELECT 1 FROM sfm_memories WHERE seq = %s FOR UPDATE", [one])
                except OperationalError as error:
                    failed.append(error)
            other.rollback()

    thread = threading.Thread(target=across)
    thread.start()
    assert holds.wait(60)
    items = [{"coord": str(n), "payload": {"text": "stored"}} for n in (1, 2)]
    with said("SET deadlock_timeout = '3s'"):  # by then, the other session is waiting for it
        response = api.post("/memories/bulk", {"items": items, "atomic": True})
    thread.join()

    assert not failed
    assert response.status_code == 200, response.content
    assert api.get("/memories/2").json()["memory"]["payload"] == {"text": "stored"}


def test_the_count_of_the_storage_used_causes_no_deadlock(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """One session has counted its change and will lock memory 2. The other has locked 2 and then counts its change."""
    Tenant.objects.filter(id=api.tenant.id).update(quota_memories=100)
    keys.forget_cached()
    for name in ("1", "2"):
        api.store(name, "before")
    supersede, transient, retried = supersession.supersede, sqlstate.is_transient, []

    def change() -> None:
        api.patch("/memories/2", {"importance": 1})
        connection.close()

    other = threading.Thread(target=change)

    def supersede_later(caller: Caller, superseding: Any, *reason: str) -> Any:
        if superseding[0][1]:
            other.start()
            with elsewhere() as third, third.cursor() as cursor:
                wait_for(lambda: waiting(cursor) or not other.is_alive())
        return supersede(caller, superseding, *reason)

    def note(error: OperationalError) -> bool:
        retried.append(sqlstate.of(error))
        return transient(error)

    monkeypatch.setattr(usage, "_stripe", lambda: 1)
    monkeypatch.setattr(supersession, "supersede", supersede_later)
    monkeypatch.setattr(sqlstate, "is_transient", note)
    response = api.patch("/memories/1", {"supersedes": [{"coord": "2"}]})
    other.join()

    assert (response.status_code, retried) == (200, [])
    assert api.get("/memories/2").json()["memory"]["importance"] == 1


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PATCH", "", {"payload": {"text": "after"}}),
        ("DELETE", "", None),
        ("DELETE", "?purge=true", None),
        ("POST", "/restore?version=1", None),
    ],
)
def test_a_change_by_id_waits_for_a_rename_and_then_finds_the_memory(
    api: Api, method: str, path: str, body: object
) -> None:
    api.store("1", "first", namespace="old")
    id = api.store("1", "second", namespace="old")["id"]
    moved = threading.Event()

    def rename() -> None:
        with transaction.atomic():
            namespaces.move_batch(Caller.command(api.tenant), "old", "new")
            moved.set()
            with elsewhere() as other, other.cursor() as cursor:
                wait_for(lambda: waiting(cursor))
        connection.close()

    thread = threading.Thread(target=rename)
    thread.start()
    assert moved.wait(60)
    response = api.request(method, f"/memories/by-id/{id}{path}", body)
    thread.join()

    assert response.status_code == 200, response.content
    rows = Memory.all_tenants.values_list("namespace", "version")
    assert list(rows) == ([] if "purge" in path else [("new", 4)])


def prepared() -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement FROM pg_prepared_statements")
        return [row[0] for row in cursor.fetchall()]


def test_repeated_statements_are_prepared(api: Api) -> None:
    connection.close()
    for n in range(4):
        api.store("1", str(n))
        api.get("/memories/1")

    statements = prepared()
    assert any(statement.startswith("INSERT INTO") and "sfm_audit_log" in statement for statement in statements)
    assert any(statement.startswith("SELECT") and "coordinate_key" in statement for statement in statements)


def test_full_text_and_json_conditions_are_planned_with_their_values(api: Api) -> None:
    api.store("1", "an aardvark")
    connection.close()
    for _ in range(6):
        api.search("aardvark", mode="keyword", filters={"text": "an aardvark"})

    statements = prepared()
    assert statements
    assert not [statement for statement in statements if "@@" in statement or "@>" in statement]


def test_the_audit_log_is_sealed_only_below_rows_of_open_transactions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sealing, "PATIENCE_S", 0.1)
    caller = Caller.command(Tenant.objects.get_or_create(slug="default")[0])
    written, go_on = threading.Event(), threading.Event()

    def write_slowly() -> None:
        with transaction.atomic():
            audit.record(caller, "test.do", ["first"])
            written.set()
            go_on.wait(60)
        connection.close()

    slow = threading.Thread(target=write_slowly)
    slow.start()
    written.wait(60)
    with transaction.atomic():
        audit.record(caller, "test.do", ["second"])

    assert sealing.seal() == 0
    go_on.set()
    slow.join()
    assert sealing.seal() == 2
    assert verification.check(caller).intact


def test_every_setting_that_we_advise_is_one_of_this_postgresql() -> None:
    text = (Path(settings.BASE_DIR) / "deploy/postgresql/somamemory.conf").read_text()
    advised = set(re.findall(r"^([a-z_]+) = ", text, re.MULTILINE))
    with connection.cursor() as cursor:
        cursor.execute("SELECT name FROM pg_settings")
        known = {name for (name,) in cursor.fetchall()}

    assert advised
    assert advised <= known | {"shared_preload_libraries"}  # visible to superusers only
