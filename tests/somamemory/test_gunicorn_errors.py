"""What is no request, or too long a one, is refused as a problem like everything else; by a real server."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from testing.processes import wait_for
from testing.server import Server

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder: Path = tmp_path_factory.mktemp("server")
    with Server(folder, SOMA_EMBEDDING_PROVIDER="hashing") as running:
        yield running


def exchange(server: Server, sent: bytes) -> bytes:
    """Everything the server sends until it closes the connection."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(sent)
        answer = b""
        while part := connection.recv(65_536):
            answer += part
    return answer


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        (b"GET /memories?query=" + b"a" * 9_000 + b" HTTP/1.1\r\n\r\n", 414, "uri_too_long"),
        (b"GET /ping HTTP/1.1\r\nX-Long: " + b"a" * 9_000 + b"\r\n\r\n", 431, "headers_too_large"),
        (b"<b>&\xff\r\n\r\n", 400, "malformed_request"),
        (b"GET /ping HTTP/9.9\r\n\r\n", 400, "malformed_request"),
        (b"GET /ping HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400, "malformed_request"),
    ],
)
def test_what_the_server_cannot_read_is_a_problem(server: Server, sent: bytes, status: int, code: str) -> None:
    answer = exchange(server, sent)

    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"\r\nContent-Type: application/problem+json\r\n" in head
    problem = json.loads(body)
    assert (problem["status"], problem["code"]) == (status, code)
    assert re.fullmatch("[0-9a-f]{32}", problem["request_id"])
    assert f"X-Request-ID: {problem['request_id']}".encode() in head
    assert f"Content-Length: {len(body)}".encode() in head


def test_a_malformed_request_line_is_logged_as_one_short_json_line(server: Server) -> None:
    hostile = b'GET /\x1b[2J"forged" ' + b"x" * 5_000

    exchange(server, hostile + b"\r\n\r\n")

    line = wait_for(lambda: next((line for line in server.log().splitlines() if "forged" in line), None))
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
