"""A language model provider for tests: a real local server that responds in the providers' formats, or with errors."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Body = dict[str, Any]
Answer = tuple[int, Any, dict[str, str]]
Behaviour = Callable[[Body], Answer]


class ChatProvider:
    """A server that responds to each request with the next behaviour in `script` or, after the last one, `default`."""

    def __init__(self) -> None:
        self.requests: list[Body] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.script: list[Behaviour] = []
        self.default: Behaviour = says({"summary": "They talked about beans."})
        self.over = threading.Event()
        provider = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                provider.requests.append(body)
                provider.headers.append({name.lower(): value for name, value in self.headers.items()})
                provider.paths.append(self.path)
                behaviour = provider.script.pop(0) if provider.script else provider.default
                try:
                    status, content, headers = behaviour(body)
                except Dead:
                    self.connection.shutdown(socket.SHUT_RDWR)
                    self.close_connection = True
                    return
                except Hanging as hanging:
                    provider.over.wait(hanging.seconds)
                    self.close_connection = True
                    return
                except Dripping:
                    self._drip()
                    return
                raw = content.encode() if isinstance(content, str) else json.dumps(content).encode()
                try:
                    self.send_response(status)
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", str(len(raw)))
                    for name, value in headers.items():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(raw)
                except OSError:
                    self.close_connection = True  # the client has given up

            def _drip(self) -> None:
                self.close_connection = True
                with suppress(OSError):  # the client has given up
                    self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Padding: ")
                    for _ in range(200):
                        self.wfile.write(b"x")
                        provider.over.wait(0.05)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()

    def stop(self) -> None:
        self.over.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(60)

    def prompt(self, at: int = -1) -> str:
        """Return the user's message in a request. The message contains the data for the model as JSON."""
        messages = [message for message in self.requests[at]["messages"] if message["role"] == "user"]
        content: str = messages[0]["content"]
        return content


class Dead(Exception):
    """Raised by a behaviour to close the connection without a response."""


class Dripping(Exception):
    """Raised by a behaviour to send the headers of a response one byte at a time."""


class Hanging(Exception):
    def __init__(self, seconds: float = 30) -> None:
        self.seconds = seconds


def says(value: Any, tokens: tuple[int, int] | None = (100, 20)) -> Behaviour:
    """Return a behaviour that responds like OpenAI's chat completions. A value that is not a string is sent as JSON."""
    text = value if isinstance(value, str) else json.dumps(value)
    usage = {} if tokens is None else {"usage": {"prompt_tokens": tokens[0], "completion_tokens": tokens[1]}}
    message = {"role": "assistant", "content": text}
    return lambda body: (
        200,
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "model": body["model"],
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            **usage,
        },
        {},
    )


def claude_says(value: Any, stop_reason: str = "tool_use") -> Behaviour:
    """Return a behaviour that responds like Anthropic's Messages API when the model has to use a tool."""
    block = {"type": "tool_use", "id": "toolu_1", "name": "answer", "input": value}
    usage = {"input_tokens": 90, "output_tokens": 10}
    answer = {"type": "message", "role": "assistant", "content": [block], "stop_reason": stop_reason, "usage": usage}
    return lambda body: (200, answer, {})


def fails(status: int, **headers: str) -> Behaviour:
    error = {"error": {"message": "no: sk-secret", "type": "x"}}
    return lambda body: (status, error, {name.replace("_", "-"): value for name, value in headers.items()})


def answers(content: Any) -> Behaviour:
    """Return a behaviour that responds with status 200 and the given content, whether or not it is valid."""
    return lambda body: (200, content, {})


def dies(body: Body) -> Answer:
    raise Dead


def hangs(body: Body) -> Answer:
    raise Hanging


def drips(body: Body) -> Answer:
    raise Dripping
