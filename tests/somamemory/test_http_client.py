"""Calls to other services end at their deadline, however slowly the other side sends or receives."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest

from somamemory import http_client

DEADLINE_S = 0.5
LATEST_S = 5.0  # a slow machine may take longer, but without a deadline, a call takes much longer than this
PAUSE_S = 0.05
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 200\r\n\r\n" + b"x" * 200
HEAD = RESPONSE.index(b"x")

Behaviour = Callable[[socket.socket], None]
Serve = Callable[[Behaviour], str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    listeners: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def start(behaviour: Behaviour) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def run() -> None:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):  # the client has given up
                behaviour(connection)

        threads.append(threading.Thread(target=run))
        threads[-1].start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    yield start
    for thread in threads:
        thread.join(60)
    for listener in listeners:
        listener.close()


def drip(content: bytes) -> Behaviour:
    def behaviour(connection: socket.socket) -> None:
        connection.recv(65_536)
        for byte in content:
            connection.sendall(bytes([byte]))
            time.sleep(PAUSE_S)

    return behaviour


def drip_the_body(connection: socket.socket) -> None:
    connection.sendall(RESPONSE[:HEAD])
    drip(RESPONSE[HEAD:])(connection)


def sip(connection: socket.socket) -> None:
    for _ in range(30):
        connection.recv(65_536)
        time.sleep(PAUSE_S)


def respond(connection: socket.socket) -> None:
    for _ in range(2):
        while not connection.recv(65_536).endswith(b"{}"):
            pass
        connection.sendall(RESPONSE)


def respond_once(listener: socket.socket) -> None:
    listener.settimeout(2 * LATEST_S)
    with contextlib.suppress(TimeoutError):
        connection, _ = listener.accept()
        with connection:
            connection.recv(65_536)
            connection.sendall(RESPONSE)


def post(url: str, content: bytes, ends_at: float) -> None:
    with http_client.client() as client, http_client.deadline(ends_at):
        client.post(url, content=content)


@pytest.mark.parametrize("behaviour", [drip(RESPONSE), drip_the_body])
def test_a_response_that_arrives_one_byte_at_a_time_ends_at_the_deadline(serve: Serve, behaviour: Behaviour) -> None:
    began = time.monotonic()
    with pytest.raises(httpx2.ReadTimeout):
        post(serve(behaviour), b"{}", began + DEADLINE_S)

    assert time.monotonic() - began < LATEST_S


def test_a_response_of_a_proxy_that_arrives_one_byte_at_a_time_ends_at_the_deadline(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", serve(drip(RESPONSE)))
    with pytest.raises(httpx2.ReadTimeout):
        post("http://service.test/", b"{}", time.monotonic() + DEADLINE_S)


def test_a_request_that_is_received_slowly_ends_at_the_deadline(serve: Serve) -> None:
    began = time.monotonic()
    with pytest.raises(httpx2.WriteTimeout):
        post(serve(sip), b"x" * 2**25, began + DEADLINE_S)

    assert time.monotonic() - began < LATEST_S


def test_all_addresses_of_a_host_together_are_tried_until_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    began = time.monotonic()
    with socket.socket() as full, socket.socket() as waiting:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        waiting.connect(address)  # fills the queue, so that further connections get no response
        resolve = socket.getaddrinfo

        def resolve_service(host: str, *args: Any, **options: Any) -> list[Any]:
            return resolve("127.0.0.1", *args, **options) * (5 if host == "service.test" else 1)

        monkeypatch.setattr(socket, "getaddrinfo", resolve_service)
        with pytest.raises(httpx2.ConnectTimeout):
            post(f"http://service.test:{address[1]}", b"{}", began + DEADLINE_S)

    assert time.monotonic() - began < LATEST_S


def test_an_address_that_does_not_respond_leaves_time_for_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as full, socket.socket() as waiting, socket.socket() as working:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        waiting.connect(full.getsockname())  # fills the queue, so that further connections get no response
        working.bind(("127.0.0.2", port))
        working.listen()
        resolve = socket.getaddrinfo

        def resolve_service(host: str, *args: Any, **options: Any) -> list[Any]:
            hosts = ("127.0.0.1", "127.0.0.2") if host == "service.test" else (host,)
            return [address for each in hosts for address in resolve(each, *args, **options)]

        monkeypatch.setattr(socket, "getaddrinfo", resolve_service)
        thread = threading.Thread(target=respond_once, args=(working,))
        thread.start()
        try:
            with http_client.client() as client, http_client.deadline(time.monotonic() + LATEST_S):
                response = client.post(f"http://service.test:{port}", content=b"{}", timeout=LATEST_S)
        finally:
            thread.join(60)
    assert response.status_code == 200


def test_the_addresses_of_a_host_do_not_share_the_timeout_for_connecting(monkeypatch: pytest.MonkeyPatch) -> None:
    timeouts: list[float] = []

    def refuse(address: object, timeout: float, **options: object) -> None:
        timeouts.append(timeout)
        raise ConnectionRefusedError

    monkeypatch.setattr(http_client._Backend, "_addresses", lambda *args: ["192.0.2.1", "192.0.2.2", "192.0.2.3"])
    monkeypatch.setattr(socket, "create_connection", refuse)
    with (
        http_client.client() as client,
        http_client.deadline(time.monotonic() + 60),
        pytest.raises(httpx2.ConnectError),
    ):
        client.post("http://service.test", timeout=httpx2.Timeout(60, connect=5))
    assert timeouts == [5, 5, 5]


def test_a_later_call_on_the_same_connection_has_its_own_deadline(serve: Serve) -> None:
    url = serve(respond)
    with http_client.client() as client:
        for _ in range(2):
            with http_client.deadline(time.monotonic() + 30):
                assert client.post(url, content=b"{}").status_code == 200
            time.sleep(0.01)
