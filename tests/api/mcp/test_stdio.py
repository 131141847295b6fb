"""MCP on standard input and output: the messages sent, and the answers if no server responds."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from api.mcp import stdio
from api.mcp.remote_server import RemoteServer, Unreachable
from somamemory.errors import ConfigurationError
from testing.server import free_port

PING = {"jsonrpc": "2.0", "id": 7, "method": "ping"}
PONG = b'{"jsonrpc":"2.0","id":7,"result":{}}'


class RecordingServer:
    """A server that gives every message the same response, and records the messages."""

    def __init__(self, content: bytes = PONG, media_type: str = "application/json", status: int = 200) -> None:
        self.answer = (status, media_type, content)
        self.messages: list[tuple[bytes, dict[str, str]]] = []

    def __call__(self, body: bytes, headers: dict[str, str]) -> tuple[int, str, bytes]:
        self.messages.append((body, headers))
        return self.answer


def answers(send: stdio.Send, *lines: bytes) -> list[Any]:
    out = io.BytesIO()
    stdio.serve(send, io.BytesIO(b"\n".join(lines) + b"\n"), out)
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_each_line_is_a_message_and_each_answer_a_line() -> None:
    send = RecordingServer()

    assert answers(send, json.dumps(PING).encode(), b"", json.dumps(PING).encode()) == [json.loads(PONG)] * 2
    assert [json.loads(body) for body, _ in send.messages] == [PING, PING]


def test_a_notification_has_no_answer() -> None:
    assert answers(RecordingServer(b""), b'{"jsonrpc":"2.0","method":"notifications/initialized"}') == []


@pytest.mark.parametrize("value", [b'"\\ud83d"', b'"\\u0000"', b"NaN"])
def test_the_answer_to_a_message_with_an_invalid_value_has_the_id_of_the_message(value: bytes) -> None:
    send = RecordingServer(b'{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"refused"}}', status=400)
    [answer] = answers(send, b'{"jsonrpc":"2.0","id":7,"method":"ping","params":{"a":%s}}' % value)

    assert (answer["id"], answer["error"]["message"]) == (7, "refused")


def test_a_message_of_the_handshake_version_has_no_stateless_headers() -> None:
    send = RecordingServer()
    answers(send, json.dumps(PING).encode())

    assert set(send.messages[0][1]) == {"Idempotency-Key"}


def test_a_stateless_message_has_the_headers_that_its_version_requires() -> None:
    send = RecordingServer()
    meta = {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}
    params = {"name": "memory_store", "_meta": meta}
    answers(send, json.dumps({**PING, "method": "tools/call", "params": params}).encode())

    headers = send.messages[0][1]
    assert headers["MCP-Protocol-Version"] == "2026-07-28"
    assert (headers["Mcp-Method"], headers["Mcp-Name"]) == ("tools/call", "memory_store")


def test_each_message_has_its_own_idempotency_key() -> None:
    send = RecordingServer()
    answers(send, *[json.dumps(PING).encode()] * 3)

    assert len({headers["Idempotency-Key"] for _, headers in send.messages}) == 3


def test_a_problem_becomes_an_error_of_the_message() -> None:
    problem = json.dumps({"detail": "API key 'x' has expired"}).encode()

    (answer,) = answers(RecordingServer(problem, "application/problem+json"), json.dumps(PING).encode())

    assert answer == {"jsonrpc": "2.0", "id": 7, "error": {"code": -32000, "message": "API key 'x' has expired"}}


@pytest.mark.parametrize(
    ("content", "media_type"),
    [
        (b"<html>\n<h1>502 Bad Gateway</h1>\n</html>\n", "text/html"),
        (b'{"message": "no route"}', "application/json"),
        (b"[]", "application/json"),
    ],
)
def test_the_page_of_a_proxy_becomes_an_error_of_the_message(content: bytes, media_type: str) -> None:
    (answer,) = answers(RecordingServer(content, media_type, 502), json.dumps(PING).encode())

    assert (answer["id"], answer["error"]["code"]) == (7, -32000)
    assert "status 502" in answer["error"]["message"]


def test_a_line_that_is_too_long_is_refused_and_the_next_one_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stdio, "MAX_MESSAGE_BYTES", 100)

    refused, served = answers(RecordingServer(), b"x" * 1000, json.dumps(PING).encode())

    assert "at most 100 bytes" in refused["error"]["message"]
    assert served == json.loads(PONG)


def test_a_server_that_does_not_respond_is_an_error_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("somamemory.retry.time.sleep", lambda seconds: None)
    server = RemoteServer(f"http://127.0.0.1:{free_port()}", "/mcp", "key")

    (answer,) = answers(server.send, json.dumps(PING).encode())

    assert "somamemory serve" in answer["error"]["message"]


@pytest.mark.parametrize("field", ["method", "version"])
@pytest.mark.parametrize("value", ["a\r\nX-Tenant: other", "caf\u00e9", "\u20ac"])
def test_a_message_that_headers_cannot_describe_is_refused_by_the_server(field: str, value: str) -> None:
    send = RecordingServer()
    meta = {"io.modelcontextprotocol/protocolVersion": value if field == "version" else "2026-07-28"}
    message = {**PING, "method": value if field == "method" else "ping", "params": {"_meta": meta}}

    answers(send, json.dumps(message).encode())

    assert value not in send.messages[0][1].values()


@pytest.mark.parametrize("secret", ["soma_a\n", "soma_\u2013"])
def test_a_key_or_tenant_that_cannot_be_sent_is_refused(secret: str) -> None:
    for key, tenant, name in ((secret, None, "SOMA_API_KEY"), ("key", secret, "SOMA_TENANT")):
        with pytest.raises(ConfigurationError, match=name) as error:
            RemoteServer("http://127.0.0.1", "/mcp", key, tenant)
        assert secret not in str(error.value)


@pytest.mark.parametrize("url", ["127.0.0.1:9595", "ftp://host", "http://", "http://host:99999", "http://[::1"])
def test_an_invalid_url_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="SOMA_URL"):
        RemoteServer(url, "/mcp", "key")


class Restarting(BaseHTTPRequestHandler):
    """Closes the first connection without a response, like a server that is stopping."""

    seen: list[dict[str, str]]

    def do_POST(self) -> None:
        self.seen.append(dict(self.headers))
        if len(self.seen) == 1:
            self.connection.close()
            return
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def restarting() -> Iterator[HTTPServer]:
    Restarting.seen = []
    with HTTPServer(("127.0.0.1", 0), Restarting) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_message_that_got_no_response_is_sent_again_with_the_same_key(restarting: HTTPServer) -> None:
    server = RemoteServer(f"http://127.0.0.1:{restarting.server_port}/soma/", "/mcp", "secret", "acme")

    assert server.send(b"{}", {"Idempotency-Key": "a"})[0] == 200

    assert [headers["Idempotency-Key"] for headers in Restarting.seen] == ["a", "a"]
    assert (Restarting.seen[1]["Authorization"], Restarting.seen[1]["X-Tenant"]) == ("Bearer secret", "acme")


def test_a_probe_is_not_repeated() -> None:
    with pytest.raises(Unreachable):
        RemoteServer(f"http://127.0.0.1:{free_port()}", "/mcp", "key").send_once(b"{}", {})
