"""SQLite's writers wait in a queue: first come, first served, and the lock is always released."""

from __future__ import annotations

import threading
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.db.utils import OperationalError

from somamemory.db.late_transaction import begun_with
from somamemory.db.sqlite import base
from somamemory.db.sqlite.process_lock import ProcessLock
from somamemory.db.sqlite.writer_queue import FairLock
from tenants.models import Tenant


def test_the_lock_is_granted_in_request_order() -> None:
    lock, order = FairLock(), list[int]()
    assert lock.acquire(1)
    threads = []
    for number in range(8):

        def wait(number: int = number) -> None:
            assert lock.acquire(10)
            order.append(number)
            lock.release()

        threads.append(threading.Thread(target=wait))
        threads[-1].start()
        while len(lock._waiting) <= number:
            time.sleep(0.001)
    lock.release()
    for thread in threads:
        thread.join(60)
    assert order == list(range(8))


def test_who_has_waited_long_enough_leaves_the_queue() -> None:
    lock = FairLock()
    assert lock.acquire(1)
    assert not lock.acquire(0.01)
    lock.release()
    assert lock.acquire(0.01)


sqlite_only = pytest.mark.skipif("connection.vendor != 'sqlite'", reason="the queue is SQLite's")


def turn_is_free() -> bool:
    queue = connection._queue  # type: ignore[attr-defined]
    taken: bool = queue.acquire(0)
    if taken:
        queue.release()
    return taken


@sqlite_only
@pytest.mark.django_db(transaction=True)
def test_a_transaction_holds_the_turn_until_its_end() -> None:
    with transaction.atomic():
        assert not turn_is_free()
        with transaction.atomic():
            Tenant.objects.create(slug="inner")
        assert not turn_is_free()
    assert turn_is_free()


@sqlite_only
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("nested", [True, False])
def test_a_late_transaction_takes_the_turn_before_it_writes(nested: bool) -> None:
    turns = []
    with begun_with(lambda: turns.append(turn_is_free())):
        Tenant.objects.filter(slug="late").exists()
        turns.append(turn_is_free())
        with transaction.atomic() if nested else nullcontext():
            Tenant.objects.create(slug="late")
        turns.append(turn_is_free())
    turns.append(turn_is_free())

    assert turns == [True, False, False, True]


@sqlite_only
@pytest.mark.django_db(transaction=True)
def test_a_late_transaction_that_fails_is_rolled_back() -> None:
    def fail() -> None:
        with begun_with(lambda: None):
            Tenant.objects.create(slug="first")
            Tenant.objects.create(slug="second")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert turn_is_free()
    assert not Tenant.objects.filter(slug__in=["first", "second"]).exists()


@sqlite_only
@pytest.mark.django_db(transaction=True)
def test_a_late_transaction_without_a_turn_writes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "PATIENCE_S", 0.01)
    queue = connection._queue  # type: ignore[attr-defined]
    assert queue.acquire(1)
    try:
        with begun_with(lambda: None):
            for slug in ("first", "second"):
                with pytest.raises(OperationalError, match="locked"):
                    Tenant.objects.create(slug=slug)
    finally:
        queue.release()
    assert not Tenant.objects.filter(slug__in=["first", "second"]).exists()


@sqlite_only
@pytest.mark.django_db(transaction=True)
def test_a_transaction_that_fails_passes_the_turn_on() -> None:
    def fail() -> None:
        with transaction.atomic():
            Tenant.objects.create(slug="twice")
            Tenant.objects.create(slug="twice")

    with pytest.raises(IntegrityError):
        fail()
    assert turn_is_free()


@sqlite_only
@pytest.mark.django_db(transaction=True)
def test_a_connection_closed_inside_a_transaction_passes_the_turn_on() -> None:
    def vanish() -> None:
        with transaction.atomic():
            Tenant.objects.create(slug="gone")
            connection.close()

    vanish()
    assert turn_is_free()
    assert not Tenant.objects.filter(slug="gone").exists()


@sqlite_only
@pytest.mark.django_db(transaction=True)
def test_a_single_statement_takes_the_turn_for_itself_alone() -> None:
    with pytest.raises(DatabaseError), connection.cursor() as cursor:
        cursor.execute("UPDATE there_is_no_such_table SET a = 1")
    Tenant.objects.create(slug="single")
    Tenant.objects.filter(slug="single").update(name="changed")
    assert turn_is_free()


@sqlite_only
@pytest.mark.django_db(transaction=True)
def test_a_writer_without_a_turn_gets_database_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "PATIENCE_S", 0.01)
    queue = connection._queue  # type: ignore[attr-defined]
    assert queue.acquire(1)
    try:
        with pytest.raises(OperationalError, match="locked"):
            Tenant.objects.filter(slug="none").update(name="changed")
        assert Tenant.objects.filter(slug="none").count() == 0  # readers do not wait
    finally:
        queue.release()


@sqlite_only
@pytest.mark.django_db(transaction=True)
def test_a_writer_that_cannot_lock_the_file_passes_the_turn_on(
    monkeypatch: pytest.MonkeyPatch, settings: Any, tmp_path: Path
) -> None:
    settings.WORKERS = 2
    name = str(connection.settings_dict["NAME"])
    monkeypatch.setitem(base._process_locks, name, ProcessLock(tmp_path / "missing" / "lock"))
    with pytest.raises(OperationalError):
        Tenant.objects.create(slug="nobody")
    assert turn_is_free()
