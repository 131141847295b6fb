"""The worker class that buffers requests and responses: slow clients, bounds and framing.

A worker with two threads serves a small WSGI application in this process.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from selectors import DefaultSelector
from typing import Any

import pytest
from django.conf import settings
from gunicorn import util
from gunicorn.config import Config
from gunicorn.workers import gthread
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from somamemory.web import gunicorn_errors, gunicorn_worker, readiness
from somamemory.web.gunicorn_connection import Phase
from somamemory.web.gunicorn_logger import JsonLogger
from somamemory.web.gunicorn_worker import BufferingWorker
from somamemory.web.readiness import Readiness
from somamemory.web.request_framing import find_head
from testing.processes import wait_for

THREADS = 2
GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
LAST_GET = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"  # no thread waits for another request
PING = b"GET /ping HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
PIECE = b"x" * 65_536


def post(length: int, path: str = "/echo", more: str = "") -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n{more}\r\n".encode()


@dataclass
class Application:
    """Responds according to the path:

    `/reject` without reading the body, `/stream` in many pieces, `/block` once it is released.
    """

    released: threading.Event = field(default_factory=threading.Event)
    calls: list[str] = field(default_factory=list)
    threads: list[int] = field(default_factory=list)
    produced: int = 0
    stream_is_closed: bool = False

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        self.calls.append(path)
        self.threads.append(threading.get_ident())
        if path == "/reject":
            start_response("401 Unauthorized", [("Content-Length", "2")])
            return [b"no"]
        if path == "/bug":
            raise RuntimeError("a bug")
        if path == "/block":
            self.released.wait(60)
        body = environ["wsgi.input"].read()
        start_response("200 OK", [])
        if path in ("/stream", "/broken-stream"):
            return self.stream(path)
        return [PIECE * 160] if path == "/large" else [body or path.encode()]

    def stream(self, path: str) -> Iterator[bytes]:
        try:
            for number in range(400):
                self.produced += 1
                if number == 3 and path == "/broken-stream":
                    raise RuntimeError("a bug")
                yield PIECE
        finally:
            self.stream_is_closed = True


@dataclass
class Service:
    app: Application
    worker: BufferingWorker
    port: int
    opened: contextlib.ExitStack

    def connect(self, sent: bytes = b"") -> socket.socket:
        connection = self.opened.enter_context(socket.create_connection(("127.0.0.1", self.port), timeout=60))
        connection.sendall(sent)
        return connection

    def exchange(self, sent: bytes) -> bytes:
        return rest_of(self.connect(sent))

    def waiting(self, phase: Phase) -> int:
        return sum(connection.phase is phase for connection in list(self.worker.waiting))


def rest_of(connection: socket.socket) -> bytes:
    """Return everything received until the end of the connection."""
    received = bytearray()
    while data := connection.recv(1024 * 1024):
        received += data
    return bytes(received)


def one_response(connection: socket.socket, end: bytes) -> bytes:
    received = b""
    while not received.endswith(end):
        data = connection.recv(65_536)
        assert data, received
        received += data
    return received


def body_of(response: bytes) -> bytes:
    """Return the body of a chunked response."""
    at, body = response.index(b"\r\n\r\n") + 4, bytearray()
    while True:
        start = response.index(b"\r\n", at) + 2
        size = int(response[at : start - 2], 16)
        if not size:
            return bytes(body)
        body += response[start : start + size]
        at = start + size + 2


def cut_off(reason: str) -> float:
    return REGISTRY.get_sample_value("soma_clients_cut_off_total", {"reason": reason}) or 0.0


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    monkeypatch.setattr(util, "write_error", gunicorn_errors.write)
    monkeypatch.setattr(gunicorn_worker, "GRACE_S", 0.05)
    monkeypatch.setattr(gunicorn_worker, "TICK_S", 0.02)
    for module in (gthread, gunicorn_worker):
        monkeypatch.setattr(module, "STOP_KEEPALIVE_LINGER", 0.1)
    cfg = Config()
    for name, value in {"threads": THREADS, "worker_connections": 60, "keepalive": 60}.items():
        cfg.set(name, value)
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    worker = BufferingWorker(1, os.getppid(), [listener], None, 30, cfg, JsonLogger(cfg))
    worker.wsgi = app = Application()
    worker.tpool, worker.poller = worker.get_thread_pool(), DefaultSelector()
    worker.method_queue.init()
    worker.prepare()
    running = threading.Thread(target=worker.run)
    running.start()
    with contextlib.ExitStack() as opened:
        yield Service(app, worker, port, opened)
    app.released.set()
    worker.handle_exit(None, None)
    running.join(60)
    worker.probe_pool.shutdown()
    worker.tpool.shutdown()
    worker.tmp.close()


# --- Slow clients ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sent",
    [b"", b"GET /pi", b"GET / HTTP/1.1\r\nHost: local", post(1000), post(1000) + b"half"],
    ids=["nothing", "half a line", "half a head", "no body", "half a body"],
)
def test_clients_that_stop_sending_occupy_no_thread(service: Service, sent: bytes) -> None:
    for _ in range(20):
        service.connect(sent)

    assert service.exchange(PING).startswith(b"HTTP/1.1 200 OK")


def test_clients_that_do_not_read_occupy_no_thread(service: Service) -> None:
    for path in (b"/large", b"/stream"):
        for _ in range(4):
            service.connect(b"GET " + path + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
    wait_for(lambda: service.waiting(Phase.WRITE) == 8)

    assert service.exchange(post(2, more="Connection: close\r\n") + b"hi").endswith(b"2\r\nhi\r\n0\r\n\r\n")


@pytest.mark.parametrize(("path", "size"), [("/large", 160 * 65_536), ("/stream", 400 * 65_536)])
def test_a_slow_reader_gets_its_whole_response(service: Service, path: str, size: int) -> None:
    connection = service.connect(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    wait_for(lambda: service.waiting(Phase.WRITE))

    assert body_of(rest_of(connection)) == b"x" * size


def test_a_stream_is_produced_no_faster_than_it_is_read(service: Service) -> None:
    service.connect(b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
    wait_for(lambda: service.waiting(Phase.WRITE))

    assert service.app.produced < 400


def test_a_stream_ends_when_its_client_disconnects(service: Service) -> None:
    connection = service.connect(b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
    wait_for(lambda: service.waiting(Phase.WRITE))
    connection.close()

    wait_for(lambda: service.app.stream_is_closed)
    wait_for(lambda: service.worker.nr_conns == 0)


@pytest.mark.parametrize("sent", [b"GET /pi", post(1000, "/echo") + b"half"])
def test_a_request_that_takes_too_long_gets_a_408(
    service: Service, sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "CLIENT_TIMEOUT_S", 0.2)

    before = cut_off("timeout")

    response = service.exchange(sent)

    assert response.startswith(b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n")
    assert b'"code":"request_timeout"' in response
    assert cut_off("timeout") == before + 1


def test_a_client_that_never_reads_is_cut_off(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "CLIENT_TIMEOUT_S", 0.2)
    monkeypatch.setattr(gunicorn_worker, "MIN_BYTES_PER_S", 10**9)
    service.connect(b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n")

    wait_for(lambda: service.app.stream_is_closed)
    wait_for(lambda: service.worker.nr_conns == 0)


def test_probes_respond_while_all_threads_are_busy(service: Service) -> None:
    for _ in range(THREADS * 2):
        service.connect(b"GET /block HTTP/1.1\r\nHost: localhost\r\n\r\n")
    wait_for(lambda: service.app.calls.count("/block") == THREADS)

    assert service.exchange(PING).startswith(b"HTTP/1.1 200 OK")


def test_a_recent_result_answers_a_readiness_probe_without_another_thread(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readiness, "_last", Readiness(True))
    probe = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n"

    response = service.exchange(probe * 400 + PING)  # many at once must not be nested

    assert response.count(b"HTTP/1.1 200 OK") == 401
    assert len(set(service.app.threads)) == 2
    assert service.app.threads[0] != service.app.threads[-1]


def test_the_server_checks_regularly_whether_it_is_ready(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "_last", None)
    monkeypatch.setattr(readiness, "EVERY_S", 0.01)
    checks: list[Readiness] = []

    def check() -> None:
        checks.append(Readiness(True))
        readiness.record(checks[-1])

    service.worker.check_readiness = check

    wait_for(lambda: len(checks) >= 3)


# --- Responses before the body -----------------------------------------------------------------------------------


def test_a_rejected_request_is_answered_before_its_body_and_closed(service: Service) -> None:
    response = service.exchange(post(1000, "/reject"))

    assert response.startswith(b"HTTP/1.1 401 Unauthorized")
    assert b"\r\nConnection: close\r\n" in response


@pytest.mark.parametrize("excess", [1, 1024 * 1024])
def test_a_client_that_sends_too_large_a_body_receives_the_response(service: Service, excess: int) -> None:
    size = settings.MAX_BODY_BYTES + excess

    response = service.exchange(post(size, "/reject") + bytes(size))

    assert response.startswith(b"HTTP/1.1 401 Unauthorized")


def test_a_body_that_arrives_late_is_processed_once_and_whole(service: Service) -> None:
    connection = service.connect(post(10, more="Connection: close\r\n") + b"01234")
    wait_for(lambda: service.app.calls)
    wait_for(lambda: service.waiting(Phase.BODY))
    connection.sendall(b"56789")

    assert body_of(rest_of(connection)) == b"0123456789"


def test_a_client_that_expects_100_continue_gets_it(service: Service) -> None:
    connection = service.connect(post(5, more="Expect: 100-continue\r\nConnection: close\r\n"))
    assert one_response(connection, b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    connection.sendall(b"12345")

    assert body_of(rest_of(connection)) == b"12345"


def test_a_client_that_expects_100_continue_may_be_rejected_before_the_body(service: Service) -> None:
    response = service.exchange(post(5, "/reject", "Expect: 100-continue\r\n"))

    assert response.startswith(b"HTTP/1.1 401 Unauthorized")


@pytest.mark.parametrize(
    "header",
    ["Expect: 100-continue\r\nExpect: 100-continue\r\nContent-Length: 5", "Content-Length: 00000000000000000005"],
)
def test_an_unusual_header_does_not_hide_the_length_of_a_body(service: Service, header: str) -> None:
    head = f"POST /echo HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{header}\r\n\r\n"
    connection = service.connect(head.encode())
    assert wait_for(lambda: service.app.calls == ["/echo"])  # without the body
    connection.sendall(b"12345")

    assert rest_of(connection).endswith(b"5\r\n12345\r\n0\r\n\r\n")


def test_a_body_that_ends_early_is_rejected(service: Service) -> None:
    connection = service.connect(post(10) + b"01234")
    connection.shutdown(socket.SHUT_WR)

    response = rest_of(connection)

    assert response.startswith(b"HTTP/1.1 400 Bad Request")
    assert b"shorter than its Content-Length" in response
    assert service.app.calls == []


def test_a_body_that_ends_early_after_the_request_was_tried_is_rejected(service: Service) -> None:
    connection = service.connect(post(10) + b"01234")
    assert wait_for(lambda: service.app.calls == ["/echo"])
    connection.shutdown(socket.SHUT_WR)

    assert rest_of(connection).startswith(b"HTTP/1.1 400 Bad Request")
    assert service.app.calls == ["/echo"]


# --- Framing -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [1, 7, 60])
def test_a_request_may_arrive_in_any_pieces(service: Service, step: int) -> None:
    request = post(12, more="Connection: close\r\n") + b"\r\n\r\nGET / HT"
    connection = service.connect()
    for start in range(0, len(request), step):
        connection.sendall(request[start : start + step])

    assert body_of(rest_of(connection)) == b"\r\n\r\nGET / HT"


@given(st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"GET /x?y", b" ", b"Content-Length: 5", b"a:b"]), max_size=30))
def test_a_head_is_found_in_the_same_way_however_it_arrives(parts: list[bytes]) -> None:
    whole, received, searched = b"".join(parts), bytearray(), 0
    for part in parts:
        received += part
        if head := find_head(received, searched):
            assert head == find_head(whole)
            return
        searched = len(received)

    assert find_head(whole) is None


def test_requests_sent_together_are_answered_in_order(service: Service) -> None:
    connection = service.connect(post(3) + b"one" + post(3) + b"two" + GET + post(5, more="Connection: close\r\n"))
    connection.sendall(b"three")

    bodies = [part.partition(b"\r\n\r\n")[2] for part in rest_of(connection).split(b"HTTP/1.1 200 OK\r\n")[1:]]
    assert bodies == [
        b"3\r\none\r\n0\r\n\r\n",
        b"3\r\ntwo\r\n0\r\n\r\n",
        b"1\r\n/\r\n0\r\n\r\n",
        b"5\r\nthree\r\n0\r\n\r\n",
    ]


def test_an_immediate_next_request_keeps_its_thread(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gunicorn_worker, "LINGER_MS", 60_000)
    connection = service.connect()
    for _ in range(20):
        connection.sendall(GET)
        one_response(connection, b"0\r\n\r\n")

    assert len(set(service.app.threads)) == 1


def test_a_thread_that_waits_for_a_client_gives_up_soon(service: Service) -> None:
    for _ in range(20):
        one_response(service.connect(GET), b"0\r\n\r\n")

    assert service.exchange(PING).endswith(b"0\r\n\r\n")


def test_half_a_next_request_occupies_no_thread(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gunicorn_worker, "LINGER_MS", 60_000)
    connections = [service.connect(GET) for _ in range(THREADS)]
    for connection in connections:
        one_response(connection, b"0\r\n\r\n")
        connection.sendall(LAST_GET[:20])
    assert service.exchange(LAST_GET).startswith(b"HTTP/1.1 200")

    for connection in connections:
        connection.sendall(LAST_GET[20:])
        assert rest_of(connection).startswith(b"HTTP/1.1 200")


def test_a_connection_is_reused_even_when_a_body_was_not_read(service: Service) -> None:
    connection = service.connect(post(200_000, "/reject") + bytes(200_000))
    assert b"Connection: keep-alive" in one_response(connection, b"no")
    connection.sendall(post(2) + b"hi")

    assert one_response(connection, b"0\r\n\r\n").endswith(b"2\r\nhi\r\n0\r\n\r\n")


def test_a_large_body_arrives_whole(service: Service) -> None:
    body = os.urandom(settings.MAX_BODY_BYTES)

    assert body_of(service.exchange(post(len(body), more="Connection: close\r\n") + body)) == body


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /" + b"a" * 70_000, b"414"),
        (b"GET / HTTP/1.1\r\nX-Long: " + b"a" * 70_000, b"431"),
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 200 + b"\r\n", b"431"),
        (b"GET / HTTP/1.1\n\n", b"400"),
        (b"POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n", b"400"),
        (b"GET /ping HTTP/1.1\r\nConnection: close\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\n", b"400"),
    ],
)
def test_bytes_that_cannot_be_a_request_are_rejected_immediately(service: Service, sent: bytes, status: bytes) -> None:
    assert service.exchange(sent).startswith(b"HTTP/1.1 " + status)


@pytest.mark.parametrize("path", ["/", "/ping", "/readyz"])
def test_an_http_1_0_request_needs_no_host(service: Service, path: str) -> None:
    assert service.exchange(f"GET {path} HTTP/1.0\r\n\r\n".encode()).startswith(b"HTTP/1.0 200 ")


def test_a_bug_of_the_application_is_a_500(service: Service) -> None:
    assert service.exchange(b"GET /bug HTTP/1.1\r\nHost: localhost\r\n\r\n").startswith(b"HTTP/1.1 500 ")


def test_a_response_that_fails_midway_does_not_look_complete(service: Service) -> None:
    response = service.exchange(b"GET /broken-stream HTTP/1.1\r\nHost: localhost\r\n\r\n")

    assert response.startswith(b"HTTP/1.1 200 OK")
    assert not response.endswith(b"0\r\n\r\n")
    assert service.app.stream_is_closed


# --- Bounds ------------------------------------------------------------------------------------------------------


def test_a_full_server_closes_idle_connections_first(service: Service) -> None:
    idle = service.connect(GET)
    one_response(idle, b"0\r\n\r\n")
    slow = [service.connect(b"GET /pi") for _ in range(58)]
    wait_for(lambda: service.worker.nr_conns == 59)

    assert service.exchange(PING).startswith(b"HTTP/1.1 200 OK")
    assert rest_of(idle) == b""
    slow[0].sendall(b"ng HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert rest_of(slow[0]).startswith(b"HTTP/1.1 200 OK")


def test_any_number_of_slow_connections_leaves_room_for_others(service: Service) -> None:
    for _ in range(200):
        service.connect(b"GET /pi")

    assert service.exchange(PING).startswith(b"HTTP/1.1 200 OK")
    assert service.worker.nr_conns <= 60


def test_the_bytes_of_waiting_requests_are_bounded(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gunicorn_worker, "MAX_HELD_BYTES", 4 * 1024 * 1024)
    first = service.connect(post(3_000_000) + bytes(2_900_000))
    wait_for(lambda: sum(connection.held for connection in list(service.worker.waiting)) > 2_900_000)
    second = service.connect(post(3_000_000, more="Connection: close\r\n") + bytes(2_900_000))

    assert rest_of(first) == b""
    second.sendall(bytes(100_000))
    assert len(body_of(rest_of(second))) == 3_000_000


def test_a_signal_that_interrupts_the_start_of_a_request_ends_the_worker(service: Service) -> None:
    outcome: list[BaseException] = []

    def interrupt() -> None:
        try:
            service.worker.handle_quit(signal.SIGQUIT, None)
        except SystemExit as error:
            outcome.append(error)

    handler = threading.Thread(target=interrupt, daemon=True)
    with service.worker.tpool._shutdown_lock:  # as in `submit`
        handler.start()
        handler.join(30)
    assert [error.code for error in outcome if isinstance(error, SystemExit)] == [0]


def test_a_second_signal_does_not_interrupt_the_handler_of_the_first(service: Service) -> None:
    finished: list[str] = []

    def worker_int(worker: BufferingWorker) -> None:
        worker.handle_quit(signal.SIGQUIT, None)
        finished.append("the first handler")

    service.worker.cfg.set("worker_int", worker_int)
    with pytest.raises(SystemExit):
        service.worker.handle_quit(signal.SIGINT, None)
    assert finished == ["the first handler"]


def test_a_stopping_worker_finishes_what_it_has_begun(service: Service) -> None:
    busy = service.connect(b"GET /block HTTP/1.1\r\nHost: localhost\r\n\r\n")
    service.connect(b"GET /pi")
    wait_for(lambda: "/block" in service.app.calls)
    service.worker.handle_exit(None, None)
    service.app.released.set()

    response = rest_of(busy)

    assert response.startswith(b"HTTP/1.1 200 OK")


@pytest.mark.parametrize(("name", "value"), [("certfile", "server.pem"), ("proxy_protocol", "auto")])
def test_a_configuration_that_the_worker_would_ignore_is_refused(name: str, value: str) -> None:
    cfg = Config()
    cfg.set(name, value)

    with pytest.raises(SystemExit, match="not supported"):
        BufferingWorker.check_config(cfg, JsonLogger(cfg))
