"""A real server rejects malformed and oversized requests with a problem."""

from __future__ import annotations

import contextlib
import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import slow_clients
from testing.processes import wait_for
from testing.server import Client, Server

pytestmark = pytest.mark.server


@contextlib.contextmanager
def client_of(server: Server) -> Iterator[Client]:
    client = server.client(timeout_s=30)
    with contextlib.closing(client.connection):
        yield client


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder: Path = tmp_path_factory.mktemp("server")
    with Server(folder, SOMA_EMBEDDING_PROVIDER="hashing", SOMA_THREADS="2") as running:
        with client_of(running) as client:
            slow_clients.store_memories(client)
        yield running


def exchange(server: Server, sent: bytes) -> bytes:
    """Send bytes, and return everything that the server sends until it closes the connection."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(sent)
        answer = b""
        while part := connection.recv(65_536):
            answer += part
    return answer


def send_body_late(server: Server, path: str, body: bytes) -> bytes:
    """Send a POST request, and its body once the server asks for it. Return the beginning of the response."""
    headers = {
        "Host": "localhost",
        "Authorization": f"Bearer {server.key}",
        "Content-Type": "application/json",
        "Content-Length": len(body),
        "Expect": "100-continue",
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(f"POST {path} HTTP/1.1\r\n{head}\r\n".encode())
        assert connection.recv(1_000).startswith(b"HTTP/1.1 100 Continue")
        connection.sendall(body)
        return connection.recv(1_000)


def requests_today(client: Client) -> int:
    used: int = client.get("/api/v1/tenants/default/usage")["requests_per_day"]["used"]
    return used


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        (b"GET /memories?query=" + b"a" * 9_000 + b" HTTP/1.1\r\n\r\n", 414, "uri_too_long"),
        (b"GET /ping HTTP/1.1\r\nX-Long: " + b"a" * 9_000 + b"\r\n\r\n", 431, "headers_too_large"),
        (b"<b>&\xff\r\n\r\n", 400, "malformed_request"),
        (b"GET /ping HTTP/9.9\r\n\r\n", 400, "malformed_request"),
        (b"GET /ping HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400, "malformed_request"),
        (b"GET /ping HTTP/1.1\r\n\r\n", 400, "malformed_request"),
        (b"POST /ping HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: zip\r\n\r\n", 411, "length_required"),
        (b"POST /ping HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n", 411, "length_required"),
    ],
)
def test_an_unreadable_request_gets_a_problem(server: Server, sent: bytes, status: int, code: str) -> None:
    answer = exchange(server, sent)

    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"\r\nContent-Type: application/problem+json\r\n" in head
    problem = json.loads(body)
    assert (problem["status"], problem["code"]) == (status, code)
    assert re.fullmatch("[0-9a-f]{32}", problem["request_id"])
    assert f"X-Request-ID: {problem['request_id']}".encode() in head
    assert f"Content-Length: {len(body)}".encode() in head


@pytest.mark.parametrize("path", ["/ping", "/healthz", "/readyz"])
def test_a_probe_with_http_1_0_needs_no_host(server: Server, path: str) -> None:
    assert exchange(server, f"GET {path} HTTP/1.0\r\n\r\n".encode()).split()[1] == b"200"


def test_a_malformed_request_line_is_logged_as_one_short_json_line(server: Server) -> None:
    hostile = b'GET /\x1b[2J"forged" ' + b"x" * 5_000

    exchange(server, hostile + b"\r\n\r\n")

    (line,) = wait_for(lambda: [line for line in server.log().splitlines() if "forged" in line])
    entry = json.loads(line)
    assert (entry["logger"], entry["level"]) == ("gunicorn.error", "warning")
    assert entry["message"].startswith("Invalid request from ip=127.0.0.1")
    assert len(line) < 1_000
    assert "\x1b" not in server.log()


@pytest.mark.parametrize("header", ["SCRIPT_NAME: /api", "PATH_INFO: /stats", "Script_Name: /api"])
def test_a_local_client_cannot_move_the_routes(server: Server, header: str) -> None:
    answer = exchange(
        server, f"GET /api/v1/ping HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{header}\r\n\r\n".encode()
    )

    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b'{"status":"ok"}' in answer


@pytest.mark.parametrize("path", ["/ping", "/healthz", "/readyz", "/memories/1"])
def test_half_sent_requests_do_not_stop_the_server(server: Server, path: str) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(8):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            connection.sendall(b"GET /pi")

        with client_of(server) as client:
            assert client.call("GET", path)[0] == 200


def test_slow_clients_of_every_kind_do_not_stop_the_server(server: Server) -> None:
    slow = slow_clients.slow_sockets(server.key, 50)
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(client_of(server))
        for connection in slow:
            stack.callback(connection.close)
        for _ in range(4):
            for connection in slow:
                connection.step(server.port)
            statuses = {path: client.call("GET", path)[0] for path in ("/ping", "/healthz", "/readyz", "/memories/1")}
            assert set(statuses.values()) == {200}, statuses


@pytest.mark.parametrize(
    ("headers", "sent", "status"),
    [
        (b"Authorization: Bearer wrong\r\nContent-Length: 1000", 0, 401),
        (b"Content-Length: 11534336", 0, 413),
        (b"Content-Length: 11534336", 11 * 1024 * 1024, 413),
        (b"Transfer-Encoding: chunked", 0, 411),
    ],
    ids=["401", "413 immediately", "413 after 11 MiB", "411"],
)
def test_a_connection_is_closed_when_its_body_was_not_read(
    server: Server, headers: bytes, sent: int, status: int
) -> None:
    head = b"POST /memories HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n" + headers

    answer = exchange(server, head + b"\r\n\r\n" + b" " * sent)

    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"\r\nConnection: close\r\n" in answer


@pytest.mark.parametrize(
    ("path", "body"),
    [("/memories", b'{"coord": "8,8"}'), ("/mcp", b'{"jsonrpc": "2.0", "id": 1, "method": "ping"}')],
)
def test_a_request_whose_body_arrives_late_is_charged_once(server: Server, path: str, body: bytes) -> None:
    with client_of(server) as client:
        before = requests_today(client)
        send_body_late(server, path, body)

        assert requests_today(client) == before + 2  # reading the number is a request, too


def test_a_body_that_arrives_late_is_stored_once(server: Server) -> None:
    answer = send_body_late(server, "/memories", b'{"coord": "7,7", "payload": {"text": "late"}}')

    assert answer.startswith(b"HTTP/1.1 201 ")
    with client_of(server) as client:
        assert client.get("/memories/7,7")["memory"]["version"] == 1
