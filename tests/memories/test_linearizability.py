"""The responses to concurrent clients at one coordinate are consistent with a single order of their requests."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection

from benchmarks.linearizability import running
from memories import row_locks
from memories.precondition import Precondition
from testing.histories import Answer, History, Recorder, Request, explains
from testing.linearizability import Operation, linearization
from tests.conftest import Api

FETCH, STORE_A, STORE_B = Request("fetch"), Request("store", "a"), Request("store", "b")
CLIENTS = 4


def answered(request: Request, answer: Answer, began: float, ended: float) -> Operation[Request, Answer]:
    return Operation(request, answer, began, ended)


def unanswered(request: Request, began: float) -> Operation[Request, Answer]:
    return Operation(request, None, began)


CREATED_A, FETCHED_A = Answer(201, 1, "a"), Answer(200, 1, "a")

EXPLAINED: dict[str, History] = {
    "no request": [],
    "one after the other": [answered(STORE_A, CREATED_A, 1, 2), answered(FETCH, FETCHED_A, 3, 4)],
    "a fetch during a store sees it": [answered(STORE_A, CREATED_A, 1, 4), answered(FETCH, FETCHED_A, 2, 3)],
    "a fetch during a store does not see it": [answered(STORE_A, CREATED_A, 1, 4), answered(FETCH, Answer(404), 2, 3)],
    "the store that began later came first": [
        answered(STORE_A, Answer(200, 2, "a"), 1, 4),
        answered(STORE_B, Answer(201, 1, "b"), 2, 3),
    ],
    "an unanswered store took effect much later": [
        unanswered(STORE_A, 1),
        answered(FETCH, Answer(404), 2, 3),
        answered(FETCH, FETCHED_A, 4, 5),
    ],
    "an unanswered store took no effect": [unanswered(STORE_A, 1), answered(FETCH, Answer(404), 2, 3)],
    "of two with the same version one is rejected": [
        answered(STORE_A, CREATED_A, 1, 2),
        answered(Request("patch", "b", "1"), Answer(200, 2, "b"), 3, 5),
        answered(Request("patch", "c", "1"), Answer(412), 3, 5),
    ],
    "deleted and restored": [
        answered(STORE_A, CREATED_A, 1, 2),
        answered(Request("delete"), Answer(200, text="deleted"), 3, 4),
        answered(FETCH, Answer(404), 5, 6),
        answered(Request("restore"), Answer(200, 3, "a"), 7, 8),
    ],
    "a purge begins the versions again": [
        answered(STORE_A, CREATED_A, 1, 2),
        answered(Request("purge"), Answer(200, text="deleted"), 3, 4),
        answered(Request("restore"), Answer(404), 5, 6),
        answered(STORE_B, Answer(201, 1, "b"), 7, 8),
    ],
}
REFUSED: dict[str, History] = {
    "a fetch sees what was never stored": [answered(FETCH, FETCHED_A, 1, 2)],
    "a lost write": [answered(STORE_A, CREATED_A, 1, 2), answered(FETCH, Answer(404), 3, 4)],
    "a stale read": [
        answered(STORE_A, CREATED_A, 1, 2),
        answered(STORE_B, Answer(200, 2, "b"), 3, 4),
        answered(FETCH, FETCHED_A, 5, 6),
    ],
    "a version given twice": [answered(STORE_A, CREATED_A, 1, 3), answered(STORE_B, Answer(201, 1, "b"), 2, 4)],
    "two with the same version succeed": [
        answered(STORE_A, CREATED_A, 1, 2),
        answered(Request("patch", "b", "1"), Answer(200, 2, "b"), 3, 5),
        answered(Request("patch", "c", "1"), Answer(200, 3, "c"), 3, 5),
    ],
    "reads that go back in time": [
        answered(STORE_A, CREATED_A, 1, 10),
        answered(FETCH, FETCHED_A, 2, 3),
        answered(FETCH, Answer(404), 4, 5),
    ],
    "an unanswered store that is seen before it began": [answered(FETCH, FETCHED_A, 1, 2), unanswered(STORE_A, 3)],
    "an unanswered store that takes effect twice": [
        unanswered(STORE_A, 1),
        answered(Request("purge"), Answer(200, text="deleted"), 2, 3),
        answered(FETCH, FETCHED_A, 4, 5),
    ],
    "a restore of what was purged": [
        answered(STORE_A, CREATED_A, 1, 2),
        answered(Request("purge"), Answer(200, text="deleted"), 3, 4),
        answered(Request("restore"), Answer(200, 2, "a"), 5, 6),
    ],
    "two deletions of one memory": [
        answered(STORE_A, CREATED_A, 1, 2),
        answered(Request("delete"), Answer(200, text="deleted"), 3, 5),
        answered(Request("delete"), Answer(200, text="deleted"), 4, 6),
    ],
}


@pytest.mark.parametrize("name", EXPLAINED)
def test_a_history_that_one_order_explains_is_accepted(name: str) -> None:
    assert explains(EXPLAINED[name])


@pytest.mark.parametrize("name", REFUSED)
def test_a_history_that_no_order_explains_is_refused(name: str) -> None:
    assert not explains(REFUSED[name])


def test_the_order_that_was_found_is_returned() -> None:
    first, second = answered(STORE_B, Answer(201, 1, "b"), 2, 3), answered(STORE_A, Answer(200, 2, "a"), 1, 4)

    def apply(state: int, request: Request) -> tuple[int, Answer]:
        return state + 1, Answer(200 if state else 201, state + 1, request.text)

    assert linearization([second, first], 0, apply) == [first, second]


def test_a_long_history_is_checked_without_trying_every_order() -> None:
    """With 8 concurrent clients, 300 operations have far too many possible orders to try them all."""
    history = [
        answered(
            Request("store", str(number)), Answer(200 if number else 201, number + 1, str(number)), number, number + 8
        )
        for number in range(300)
    ]
    assert explains(history)

    history[150] = answered(history[150].request, Answer(200, 1, "150"), 150, 158)
    assert not explains(history)


def record(api: Api, seed: int) -> History:
    """Record the responses to four clients that concurrently send 60 requests to one coordinate."""
    recorder = Recorder("1,2", 60, seed)
    start = threading.Barrier(CLIENTS)

    def send(method: str, path: str, body: Any, headers: dict[str, str]) -> tuple[int, Any]:
        response = api.request(method, path, body, None, **headers)
        return response.status_code, response.json()

    def work(client: int) -> None:
        try:
            start.wait(60)
            recorder.work(client, send)
        finally:
            connection.close()

    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(work, range(CLIENTS)))
    return recorder.history


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("seed", range(3))
def test_concurrent_writes_of_one_coordinate_are_linearizable(api: Api, seed: int) -> None:
    history = record(api, seed)

    assert {operation.answer.status for operation in history if operation.answer} <= {200, 201, 404, 412}
    assert len(history) == 60
    assert explains(history), history


@pytest.mark.django_db(transaction=True)
def test_a_service_that_ignores_conditions_is_found_out(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Precondition, "check", lambda precondition, current: None)

    assert not explains(record(api, 0))


@pytest.mark.postgresql  # on SQLite, nothing can be stored during a purge
@pytest.mark.django_db(transaction=True)
def test_a_purge_that_requires_absence_spares_a_memory_stored_in_between(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = row_locks.outlines

    def store() -> None:
        api.store("1", "stored in between")
        connection.close()

    def read_then_store(*args: Any) -> Any:
        rows = read(*args)
        monkeypatch.undo()
        thread = threading.Thread(target=store)
        thread.start()
        thread.join()
        return rows

    monkeypatch.setattr(row_locks, "outlines", read_then_store)

    assert api.delete("/memories/1?purge=true", if_none_match="*").json()["deleted"] is False
    assert api.get("/memories/1").status_code == 200


@pytest.mark.server
@pytest.mark.once
def test_writes_are_linearizable_across_a_kill_of_the_server() -> None:
    with running("") as run:
        run.batch([Recorder(f"{number}", 50, number) for number in range(3)], CLIENTS, kill=True)

    assert run.outcomes["histories with kill -9"] == 3
    assert not run.outcomes["violations"]
