"""A request and its statement end at the deadline, on both engines."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable
from typing import Any

import pytest
from django.db import OperationalError, connection, transaction
from django.test import RequestFactory
from django.test.client import Client

from console.site import site
from memories import selectors
from memories.models import Memory
from somamemory import deadline
from somamemory.db import sqlstate
from somamemory.errors import DeadlineExceeded
from somamemory.web import client_connection
from tests.conftest import Api, problem_of

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


def run_endless(*args: object, **kwargs: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute(ENDLESS)
        cursor.fetchall()  # SQLite starts the work here


def run_out_of_time() -> None:
    deadline.restart(0)
    deadline.check()


def check_for_ever() -> None:
    while True:
        deadline.check()


def consume(pieces: Iterable[object]) -> None:
    for _ in pieces:
        time.sleep(0.01)


@pytest.mark.django_db(transaction=True)
def test_a_statement_ends_at_the_deadline_of_its_request(api: Api, settings, monkeypatch) -> None:
    settings.REQUEST_DEADLINE_S = 0.2
    monkeypatch.setattr(selectors, "get_memory", run_endless)

    response = api.get("/memories/1")

    problem = problem_of(response, 503, "deadline_exceeded")
    assert "0.2 seconds" in problem["detail"]
    assert "limit" in problem["detail"]


@pytest.mark.django_db(transaction=True)
def test_the_next_request_does_not_notice_the_interruption_of_the_last(api: Api, settings, monkeypatch) -> None:
    api.store("1")
    settings.REQUEST_DEADLINE_S = 0.2
    with monkeypatch.context() as patch:
        patch.setattr(selectors, "get_memory", run_endless)
        api.get("/memories/1")
    settings.REQUEST_DEADLINE_S = 30

    assert api.get("/memories/1").status_code == 200


@pytest.mark.django_db(transaction=True)
def test_a_transaction_over_its_deadline_leaves_nothing(api: Api, settings, monkeypatch) -> None:
    settings.REQUEST_DEADLINE_S = 0.2
    monkeypatch.setattr("tenants.audit.events", run_endless)

    problem_of(api.post("/memories", {"coord": "1", "payload": {}}), 503, "deadline_exceeded")

    assert not Memory.all_tenants.exists()


@pytest.mark.django_db(transaction=True)
def test_no_statement_begins_after_the_deadline(api: Api) -> None:
    with deadline.within(0), pytest.raises(DeadlineExceeded), connection.cursor() as cursor:
        cursor.execute("SELECT 1")


@pytest.mark.django_db(transaction=True)
def test_a_transaction_is_rolled_back_after_the_deadline(tenant) -> None:
    with deadline.within(60), pytest.raises(DeadlineExceeded), transaction.atomic(), transaction.atomic():
        run_out_of_time()

    assert not connection.in_atomic_block
    assert not connection.needs_rollback


@pytest.mark.django_db(transaction=True)
def test_a_page_of_the_console_over_its_deadline_is_503(superuser: Client, settings, monkeypatch) -> None:
    monkeypatch.setattr(site, "figures", run_endless)
    settings.REQUEST_DEADLINE_S = 0.3
    superuser.raise_request_exception = False

    response: Any = superuser.get("/admin/")

    problem_of(response, 503, "deadline_exceeded")


@pytest.mark.django_db(transaction=True)
def test_the_work_for_a_disconnected_client_ends(tenant) -> None:
    with deadline.within(60):
        deadline.restart(60, is_abandoned=lambda: True)
        with pytest.raises(OperationalError) as caught:
            run_endless()

        assert sqlstate.is_interrupted(caught.value)
        assert deadline.is_over()


def test_a_loop_ends_at_the_deadline() -> None:
    with deadline.within(0.05), pytest.raises(DeadlineExceeded):
        check_for_ever()


def test_commands_and_background_work_have_no_deadline() -> None:
    deadline.check()

    assert not deadline.is_over()
    assert deadline.left_s(30) == 30


def test_a_wait_is_not_longer_than_the_time_that_is_left() -> None:
    with deadline.within(5):
        assert deadline.left_s(30) <= 5
        assert deadline.left_s(1) == 1


def test_the_deadline_begins_again_when_the_body_has_arrived() -> None:
    with deadline.within(0):
        deadline.restart(60)

        deadline.check()


def test_the_deadline_of_one_request_does_not_outlive_it() -> None:
    with deadline.within(0):
        pass

    deadline.check()


def test_a_stream_ends_at_the_deadline_of_its_request() -> None:
    with deadline.within(0.05):
        pieces = deadline.stream(iter(int, 1))  # endless

    with pytest.raises(DeadlineExceeded):
        consume(pieces)
    deadline.check()


def test_a_stream_within_its_deadline_is_complete() -> None:
    with deadline.within(60):
        pieces = deadline.stream(iter([b"a", b"b"]))

    assert list(pieces) == [b"a", b"b"]


def _request(server: socket.socket | None) -> Any:
    request = RequestFactory().get("/")
    request.META["gunicorn.socket"] = server
    return request


def goodbye_of(server: socket.socket | None):
    return client_connection.goodbye(_request(server))


def test_a_closed_connection_counts_as_disconnected() -> None:
    server, client = socket.socketpair()
    with server:
        has_closed = goodbye_of(server)
        assert has_closed is not None
        assert not has_closed()
        client.send(b"the next request")
        assert not has_closed()
        server.recv(100)

        client.close()

        assert has_closed()


def test_without_a_socket_the_client_is_not_reported_as_gone() -> None:
    assert goodbye_of(None) is None
