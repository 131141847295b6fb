"""Both clients with a failing server and a failing network."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from benchmarks.client_faults import chaos
from somamemory_client import (
    ApiError,
    AsyncClient,
    Client,
    ConnectionFailed,
    ConnectionLost,
    DatabaseBusy,
    IncompatibleServer,
    IndexBacklog,
    InvalidResponse,
    LlmAnswerInvalid,
    LlmUnavailable,
    NotFound,
    PayloadTooLarge,
    RateLimited,
    ResponseTimeout,
    SomaError,
    StillRunning,
    errors,
)
from somamemory_client._async import caller as async_caller
from somamemory_client._http import MAX_IDLE_CONNECTIONS
from somamemory_client._sync import caller as sync_caller
from testing.faulty_proxy import FAULTS, problem
from testing.server import Server, free_port
from tests.clients.scripted import OK, Answer, ScriptedServer, call

GATEWAY = b"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>"
Serve = Callable[..., ScriptedServer]


@pytest.fixture(params=["sync", "async"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Record the pauses between attempts instead of waiting."""
    recorded: list[float] = []

    async def pause(seconds: float) -> None:
        recorded.append(seconds)

    monkeypatch.setattr(sync_caller, "sleep", recorded.append)
    monkeypatch.setattr(async_caller, "async_sleep", pause)
    return recorded


@pytest.fixture
def serve() -> Iterator[Serve]:
    servers: list[ScriptedServer] = []

    def start(*answers: Answer) -> ScriptedServer:
        servers.append(ScriptedServer(answers))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def store(client: Any) -> Any:
    return client.memories.store("x")


def hang_up(connection: socket.socket) -> None:
    pass


def truncate(connection: socket.socket) -> None:
    connection.sendall(OK[:-5])


def cut_head(connection: socket.socket) -> None:
    connection.sendall(OK[:20])


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


def silent(connection: socket.socket) -> None:
    time.sleep(0.5)


def drip(connection: socket.socket) -> None:
    """Send one byte at a time, so that no single wait is long."""
    try:
        for byte in OK:
            connection.sendall(bytes([byte]))
            time.sleep(0.05)
    except OSError:
        pass


@pytest.mark.parametrize(
    "fault",
    [
        hang_up,
        truncate,
        cut_head,
        reset,
        GATEWAY,
        problem(503, "database_busy", Retry_After="1"),
        problem(429, "rate_limited", Retry_After="1"),
        problem(409, "still_running", Retry_After="1"),
        problem(408, "request_timeout"),
        problem(500, "internal_error"),
    ],
)
def test_a_write_is_sent_again_with_the_same_idempotency_key(
    kind: str, serve: Serve, pauses: list[float], fault: Answer
) -> None:
    server = serve(fault, OK)

    assert call(kind, server.url, store) == {"ok": True}
    first, second = server.headers("idempotency-key")
    assert first == second
    assert first


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (hang_up, ConnectionLost),
        (truncate, ConnectionLost),
        (cut_head, ConnectionLost),
        (reset, ConnectionLost),
        (GATEWAY, InvalidResponse),
        (b"SSH-2.0-OpenSSH\r\n\r\n", SomaError),
        (OK.replace(b"{", b"<"), InvalidResponse),
        (problem(503, "database_busy"), DatabaseBusy),
        (problem(429, "rate_limited", Retry_After="1"), RateLimited),
        (problem(409, "still_running"), StillRunning),
        (problem(404, "not_found"), NotFound),
        (problem(418, "from_the_future"), ApiError),
        (problem(599, "from_the_future"), errors.ApiError),
    ],
)
def test_every_fault_raises_its_error(
    kind: str, serve: Serve, pauses: list[float], fault: Answer, error: type[Exception]
) -> None:
    with pytest.raises(error):
        call(kind, serve(fault).url, store, max_retries=1)


def test_the_response_to_a_body_that_is_too_large_to_be_received_is_read(kind: str, pauses: list[float]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def refuse() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(problem(413, "payload_too_large"))

        threading.Thread(target=refuse).start()
        with pytest.raises(PayloadTooLarge):
            call(
                kind, f"http://127.0.0.1:{listener.getsockname()[1]}", lambda client: client.memories.store("x" * 2**25)
            )
    assert pauses == []


@pytest.mark.parametrize("fault", [silent, drip])
def test_a_slow_response_raises_a_timeout(kind: str, serve: Serve, fault: Answer) -> None:
    began = time.monotonic()
    with pytest.raises(ResponseTimeout):
        call(kind, serve(fault).url, store, max_retries=0, timeout=0.2)

    assert time.monotonic() - began < 30  # not while bytes arrive


def test_the_error_names_an_unreachable_server(kind: str, pauses: list[float]) -> None:
    port = free_port()
    with pytest.raises(ConnectionFailed, match=f"127.0.0.1:{port}"):
        call(kind, f"http://127.0.0.1:{port}", store)
    assert len(pauses) == 3


@pytest.mark.parametrize("host", ["memory.invalid", "a" * 64 + ".example"])
def test_the_error_names_a_host_that_does_not_resolve(kind: str, pauses: list[float], host: str) -> None:
    with pytest.raises(ConnectionFailed, match=host):
        call(kind, f"http://{host}", store, max_retries=0)


def test_the_server_decides_how_long_to_wait(kind: str, serve: Serve, pauses: list[float]) -> None:
    call(kind, serve(problem(429, "rate_limited", Retry_After="7"), OK).url, store)

    assert len(pauses) == 1
    assert 7 <= pauses[0] <= 8


@pytest.mark.parametrize(
    "answer",
    [
        problem(422, "invalid_input"),
        problem(429, "quota_exceeded", Retry_After="9"),
        problem(429, "rate_limited", Retry_After="86400"),
        problem(503, "llm_refused"),
        problem(503, "deadline_exceeded", Retry_After="5"),
    ],
)
def test_a_permanent_error_is_raised_immediately(kind: str, serve: Serve, pauses: list[float], answer: bytes) -> None:
    server = serve(answer)
    with pytest.raises(ApiError):
        call(kind, server.url, store)

    assert len(server.requests) == 1


def summarize(client: Any) -> Any:
    return client.conversations.summarize("6f8d7a6e-0000-4000-8000-000000000000")


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (hang_up, ConnectionLost),
        (problem(503, "llm_answer_invalid"), LlmAnswerInvalid),
        (problem(503, "llm_unavailable"), LlmUnavailable),
        (problem(503, "database_busy"), DatabaseBusy),  # when the model's answer was to be stored
        (problem(429, "index_backlog"), IndexBacklog),
    ],
)
def test_a_model_call_that_may_have_been_charged_is_not_repeated(
    kind: str, serve: Serve, pauses: list[float], fault: Answer, error: type[Exception]
) -> None:
    server = serve(fault, OK)

    with pytest.raises(error):
        call(kind, server.url, summarize)

    assert len(server.requests) == 1


def test_a_model_call_is_repeated_after_a_rate_limit(kind: str, serve: Serve, pauses: list[float]) -> None:
    server = serve(problem(429, "rate_limited", Retry_After="1"), OK)

    assert call(kind, server.url, summarize) == {"ok": True}


@pytest.mark.parametrize(
    ("delete", "requests"),
    [
        (lambda client: client.memories.delete(key="a"), 2),
        (lambda client: client.memories.delete(key="a", if_match=3), 1),
        (lambda client: client.request("DELETE", "/memories/by-key/a"), 2),
        (lambda client: client.request("DELETE", "/memories/by-key/a", headers={"if-match": '"3"'}), 1),
    ],
)
def test_a_deletion_with_if_match_is_not_sent_again(
    kind: str, serve: Serve, pauses: list[float], delete: Callable[[Any], Any], requests: int
) -> None:
    server = serve(hang_up)
    with pytest.raises(ConnectionLost):
        call(kind, server.url, delete, max_retries=1)

    assert len(server.requests) == requests


def import_file(client: Any) -> Any:
    return client.conversations.import_file(b"[]", "application/json")


def test_the_client_waits_for_an_import_whose_connection_was_lost(kind: str, serve: Serve, pauses: list[float]) -> None:
    server = serve(hang_up, *[problem(409, "still_running", Retry_After="1")] * 8, OK)

    assert call(kind, server.url, import_file) == {"ok": True}
    assert len(pauses) == 9


def test_the_client_waits_for_an_import_only_as_long_as_for_its_response(
    kind: str, serve: Serve, pauses: list[float]
) -> None:
    with pytest.raises(StillRunning):
        call(kind, serve(problem(409, "still_running", Retry_After="1")).url, import_file, timeout=120)

    assert 120 <= sum(pauses) <= 120 + 61


def test_a_connection_is_reused(kind: str, serve: Serve) -> None:
    server = serve(OK)

    if kind == "sync":
        with Client(server.url, "key") as client:
            for _ in range(3):
                client.memories.store("x")
            assert len(client._caller.transport._idle) == 1  # type: ignore[attr-defined]
    assert call(kind, server.url, store) == {"ok": True}


def test_each_event_loop_keeps_its_own_connections(serve: Serve) -> None:
    server = serve(OK)
    client = AsyncClient(server.url, "key")
    with contextlib.closing(asyncio.new_event_loop()) as first, contextlib.closing(asyncio.new_event_loop()) as second:
        for loop in (first, second, first, second):
            loop.run_until_complete(client.memories.store("x"))
        for loop in (second, first):
            loop.run_until_complete(client.close())

    assert server.connections == 2


def test_connections_beyond_the_limit_are_closed(serve: Serve) -> None:
    everyone = threading.Barrier(MAX_IDLE_CONNECTIONS + 1)

    def answer_together(connection: socket.socket) -> None:
        everyone.wait(10)
        connection.sendall(OK)
        connection.recv(1)  # until the client closes the connection

    server = serve(answer_together)
    client = Client(server.url, "key")
    with warnings.catch_warnings(record=True) as caught, ThreadPoolExecutor(everyone.parties) as threads:
        warnings.simplefilter("always")
        list(threads.map(client.memories.store, ["x"] * everyone.parties))
        client.close()

    assert [str(warning.message) for warning in caught] == []


def test_a_connection_that_the_server_has_closed_is_not_reused(serve: Serve) -> None:
    def answer_and_hang_up(connection: socket.socket) -> None:
        connection.sendall(OK)

    server = serve(answer_and_hang_up)
    with Client(server.url, "key", max_retries=0) as client:
        for _ in range(5):
            client.memories.store("x")
            time.sleep(0.01)

    assert len(server.requests) == 5


def test_chunks_and_early_hints_are_understood(kind: str, serve: Serve) -> None:
    chunked = (
        b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
        b'Transfer-Encoding: chunked\r\n\r\n5;x=1\r\n{"ok"\r\n8\r\n: true }\r\n0\r\nTrailer: 1\r\n\r\n'
    )
    if kind == "sync":
        chunked = chunked.partition(b"\r\n\r\n")[2]  # http.client understands only 100 Continue

    assert call(kind, serve(chunked).url, store) == {"ok": True}


def test_the_error_names_another_major_version(kind: str, serve: Serve) -> None:
    health = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 20\r\n\r\n{"version": "7.1.0"}'
    unknown = problem(404, "not_found")

    with pytest.raises(IncompatibleServer, match=r"version 7\.1\.0.*somamemory-client 7"):
        call(kind, serve(unknown, health).url, store)


@pytest.mark.server
@pytest.mark.once
def test_no_acknowledged_write_is_lost_or_repeated(tmp_path: Path, pauses: list[float]) -> None:
    with Server(tmp_path) as server:
        report = chaos(server, operations=60, slow_s=1.5, timeout_s=1.0, random=random.Random(7))

    assert report.contradictions == []
    assert report.certain >= 50
    assert set(report.faults) == {*FAULTS, "none"}
