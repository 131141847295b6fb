"""The hooks of the Claude Code plugin as Claude Code runs them: on a recorded transcript, against a real server."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from benchmarks.prompt_hook import PLUGIN, environment
from testing.server import Client, Server

pytestmark = [pytest.mark.server, pytest.mark.once]
RECORDED = Path(__file__).parent / "recordings" / "claude_code_session.jsonl"
SESSION = json.loads(RECORDED.read_text().splitlines()[1])["sessionId"]
HOOKS = json.loads((PLUGIN / "hooks" / "hooks.json").read_text())["hooks"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that has the recorded session, stored by the hook that runs when Claude stops."""
    with Server(tmp_path_factory.mktemp("hooks")) as server:
        for _ in range(2):  # Claude stops more than once in a session
            assert fire(f"http://127.0.0.1:{server.port}", server.key, "Stop", SESSION) == ""
        with connected(server) as client:
            client.wait_until_indexed()
        yield server


@contextlib.contextmanager
def connected(server: Server) -> Iterator[Client]:
    client = server.client()
    with contextlib.closing(client.connection):
        yield client


def fire(url: str, key: str, name: str, session: str, **more: Any) -> str:
    """Run a hook as Claude Code does. Return the text that it adds to the context."""
    (group,) = HOOKS[name]
    (hook,) = group["hooks"]
    event = {"hook_event_name": name, "session_id": session, "cwd": "/home/ada/bakery", **more}
    done = subprocess.run(
        ["/bin/sh", "-c", hook["command"]],
        input=json.dumps({"transcript_path": str(RECORDED), **event}),
        env=environment(url, key),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stderr == ""
    if not done.stdout:
        return ""
    output = json.loads(done.stdout)["hookSpecificOutput"]
    assert output["hookEventName"] == name
    text: str = output["additionalContext"]
    return text


def ask(server: Server, name: str, session: str = "the-next-one", **more: Any) -> str:
    return fire(f"http://127.0.0.1:{server.port}", server.key, name, session, **more)


def test_the_next_session_recalls_what_the_user_decided(server: Server) -> None:
    text = ask(server, "UserPromptSubmit", prompt="At how many degrees should I bake the sourdough?")

    assert "we bake it at 240 degrees" in text


def test_the_next_session_recalls_what_claude_found(server: Server) -> None:
    text = ask(server, "UserPromptSubmit", prompt="Order flour for the sourdough")

    assert "rye flour from the mill in Emmental" in text


def test_a_session_does_not_recall_its_own_messages(server: Server) -> None:
    prompt = "At how many degrees should I bake the sourdough?"

    assert ask(server, "UserPromptSubmit", SESSION, prompt=prompt) == ""


def test_only_messages_are_stored_and_each_once(server: Server) -> None:
    path = f"/api/v1/conversations/by-external-id/{SESSION}/messages"
    with connected(server) as client:
        messages = [item["content"] for item in client.get(path)["items"]]

    assert len(messages) == len(set(messages)) == 5
    assert not [text for text in messages if "swordfish" in text or "thought" in text or "subagent" in text]


@pytest.fixture
def proxied(server: Server) -> Iterator[str]:
    """The URL, with a path, of a proxy that responds in chunks."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with connected(server) as client:
                answer = client.post(self.path.removeprefix("/soma"), body)
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            content = json.dumps(answer).encode()
            for piece in (content[:7], content[7:]):
                self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
            self.wfile.write(b"0\r\n\r\n")

        def log_message(self, format: str, *args: object) -> None:
            pass

    proxy = HTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=proxy.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{proxy.server_port}/soma/"
    proxy.shutdown()
    thread.join()
    proxy.server_close()


def test_a_hook_reaches_a_server_below_a_path_that_responds_in_chunks(server: Server, proxied: str) -> None:
    text = fire(proxied, server.key, "UserPromptSubmit", "the-next-one", prompt="Order flour for the sourdough")

    assert "rye flour" in text
