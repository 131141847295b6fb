"""Notifications: one message for many commits, published by a thread. A lost message loses no work."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest
from django.db import transaction
from pytest_django import Settings

from memories.index import notify
from somamemory.scheduling import scheduler
from testing.processes import wait_for


class Broker:
    """Counts messages. Can be slow or down."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.published = 0
        self.dead = False
        self.called, self.open = threading.Event(), threading.Event()
        self.open.set()

    def publish(self) -> None:
        self.called.set()
        self.open.wait(60)
        if self.dead:
            raise ConnectionError("dead")
        self.messages.append(threading.current_thread().name)
        self.published += 1


@pytest.fixture
def broker(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Broker]:
    made = Broker()
    settings.INDEXER = "celery"
    monkeypatch.setattr(notify, "publish", made.publish)
    monkeypatch.setattr(notify, "_publisher", notify.Publisher())
    monkeypatch.setattr(notify, "PAUSE_S", 0.01)
    monkeypatch.setattr(notify, "PAUSE_AFTER_FAILURE_S", 0.05)
    yield made
    made.open.set()


@pytest.fixture
def commit(django_capture_on_commit_callbacks) -> Callable[[], None]:
    def one() -> None:
        with django_capture_on_commit_callbacks(execute=True), transaction.atomic():
            notify.on_commit()

    return one


@pytest.mark.django_db
def test_a_commit_publishes_from_a_separate_thread(broker: Broker, commit: Callable[[], None]) -> None:
    commit()
    wait_for(lambda: broker.messages)
    assert broker.messages == ["soma-nudge"]


@pytest.mark.django_db
def test_a_rolled_back_transaction_publishes_nothing(broker: Broker, django_capture_on_commit_callbacks) -> None:
    with django_capture_on_commit_callbacks(execute=True), transaction.atomic():
        notify.on_commit()
        transaction.set_rollback(True)
    time.sleep(0.05)
    assert broker.messages == []


@pytest.mark.django_db
def test_many_commits_behind_a_slow_broker_make_one_more_message(broker: Broker, commit: Callable[[], None]) -> None:
    broker.open.clear()
    commit()
    wait_for(broker.called.is_set)
    for _ in range(200):
        commit()
    assert broker.published == 0  # none of them has waited for the broker
    broker.open.set()
    wait_for(lambda: broker.published == 2)
    time.sleep(0.1)
    assert broker.published == 2


@pytest.mark.django_db
def test_a_dead_broker_fails_no_commit_and_is_used_again(broker: Broker, commit: Callable[[], None]) -> None:
    broker.dead = True
    commit()
    commit()
    time.sleep(0.02)
    broker.dead = False
    commit()
    wait_for(lambda: broker.published)


@pytest.mark.django_db
def test_the_thread_survives_a_bug(broker: Broker, commit: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    def bug() -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as broken:
        broken.setattr(notify, "publish", bug)
        commit()
        time.sleep(0.03)
    monkeypatch.setattr(notify, "publish", broker.publish)
    commit()
    wait_for(lambda: broker.published)


@pytest.mark.django_db
def test_another_indexer_is_not_woken(
    broker: Broker, commit: Callable[[], None], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    woken: list[str] = []
    monkeypatch.setattr(scheduler, "wake", woken.append)
    settings.INDEXER = "none"
    commit()
    assert woken == []
    settings.INDEXER = "thread"
    commit()
    assert woken == [notify.DRAIN]
    assert broker.messages == []
