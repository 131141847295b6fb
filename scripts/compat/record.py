"""Record the exchanges between clients and a server: `python record.py FORM FILE COMMAND...`.

The script runs the command with COMPAT_SERVER set to a proxy in front of the server, and writes each exchange as a line
of JSON. Exchanges with an operator's key or an invalid key are not recorded. The script needs only the standard
library.

If FORM is `answers`, whole answers are written. They must depend only on the requests. Ids are numbered
in the order in which they appear ("#1#"). `tests/compat/test_mem0_exchanges.py` replays these files.

If FORM is `shapes`, only the first 300 exchanges are written, each with the shape of the answer (its fields and their
types) and the ids in it. Use this form for all other clients. The first line contains the shapes.
`tests/compat/test_recorded.py` replays these files.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

MAX_BODY = 4096  # longer requests are not recorded
MAX_SHAPES = 300
ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_FORWARDED = ("Authorization", "X-API-Key", "Content-Type", "X-Soma-Tenant", "X-Tenant")
_RETURNED = ("Content-Type", "Location", "X-Compat-Changes")
_FREE_FORM = ("metadata", "payload", "factors")


@dataclass(frozen=True)
class Exchange:
    method: str
    path: str
    sent: bytes
    has_key: bool
    status: int
    answer: bytes

    @property
    def body(self) -> Any:
        return json.loads(self.sent) if self.sent else None


@dataclass
class Answers:
    """Writes whole answers.

    server: the host and port of the server, which change with each start and are therefore replaced.
    """

    server: str
    ids: dict[str, str] = field(default_factory=dict)

    def lines(self, exchanges: list[Exchange]) -> list[str]:
        return [self._line(exchange) for exchange in exchanges]

    def _line(self, exchange: Exchange) -> str:
        answer = json.loads(exchange.answer)
        written = {
            "method": exchange.method,
            "path": unquote(exchange.path) if ID.search(exchange.path) else exchange.path,
            "body": exchange.body,
            "status": exchange.status,
            "answer": {"detail": answer["detail"]} if exchange.status >= 400 else answer,
        }
        text = ID.sub(self._numbered, json.dumps(written, separators=(",", ":"), ensure_ascii=False))
        return text.replace(f"http://{self.server}", "http://testserver")

    def _numbered(self, match: re.Match[str]) -> str:
        return self.ids.setdefault(match[0], f"#{len(self.ids) + 1}#")


class Shapes:
    """Writes the shapes of answers. Each shape is written once, and each exchange contains the number of its shape."""

    def __init__(self, server: str) -> None:
        self.server = server

    def lines(self, exchanges: list[Exchange]) -> list[str]:
        recorded = [exchange for exchange in exchanges if len(exchange.sent) <= MAX_BODY][:MAX_SHAPES]
        texts = [self._shape_of(exchange) for exchange in recorded]
        shapes = list(dict.fromkeys(texts))
        numbered = [self._line(item, shapes.index(text)) for item, text in zip(recorded, texts, strict=True)]
        return [f"[{','.join(shapes)}]", *numbered]

    def _shape_of(self, exchange: Exchange) -> str:
        try:
            text = compact(shape(json.loads(exchange.answer))) if exchange.status < 400 else '"any"'
        except ValueError:
            return '"any"'
        return text if len(text) <= MAX_BODY else '"any"'  # the shape of an OpenAPI document, for example, is too long

    def _line(self, exchange: Exchange, number: int) -> str:
        ids = list(dict.fromkeys(ID.findall(exchange.answer.decode())))[:20] if exchange.status < 400 else []
        return compact(
            {
                "method": exchange.method,
                "path": exchange.path,
                "body": exchange.body,
                "key": exchange.has_key,
                "status": exchange.status,
                "shape": number,
                "ids": ids,
            }
        )


def shape(value: Any) -> Any:
    """Return the shape of a value: the names and types of its fields. A list has the shape of its first item."""
    if isinstance(value, dict):
        return {name: "any" if name in _FREE_FORM else shape(item) for name, item in sorted(value.items())}
    if isinstance(value, list):
        return [shape(item) for item in value[:1]]
    return "any" if value is None else "number" if isinstance(value, int | float) else type(value).__name__


def compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


class Proxy(ThreadingHTTPServer):
    def __init__(self, server: str, excluded_key: str) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.upstream, self.excluded_key = urlsplit(server).netloc, excluded_key
        self.recorded: list[Exchange] = []
        self.lock = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    server: Proxy
    protocol_version = "HTTP/1.1"

    def forward(self) -> None:
        sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name: self.headers[name] for name in _FORWARDED if self.headers[name]}
        connection = http.client.HTTPConnection(self.server.upstream, timeout=60)
        connection.request(self.command, self.path, sent or None, headers)
        response = connection.getresponse()
        answer = response.read()
        connection.close()
        key = headers.get("Authorization", headers.get("X-API-Key", "")).partition(" ")[2]
        if key != self.server.excluded_key and response.status != 401:
            with self.server.lock:
                self.server.recorded.append(Exchange(self.command, self.path, sent, bool(key), response.status, answer))
        self.send_response(response.status)
        for name in _RETURNED:
            if name in response.headers:
                self.send_header(name, response.headers[name])
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = forward

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing."""


def main(form: str, file: str, command: list[str]) -> int:
    proxy = Proxy(os.environ["COMPAT_SERVER"], os.environ["COMPAT_OPERATOR_KEY"])
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    environment = {**os.environ, "COMPAT_SERVER": f"http://127.0.0.1:{proxy.server_port}"}
    code = subprocess.run(command, env=environment, check=False).returncode  # noqa: S603 - given by the caller
    writer = {"answers": Answers, "shapes": Shapes}[form](proxy.upstream)
    with open(file, "w", encoding="utf-8") as lines:
        lines.writelines(line + "\n" for line in writer.lines(proxy.recorded))
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
