"""Record the exchanges between clients and a server: `python record.py SERVER FILE COMMAND...`.

Runs the command with COMPAT_SERVER set to a proxy in front of the server, and writes each exchange as a line of JSON:
method, path, body, status, the shape of the response and the ids in it. `tests/compat/test_recorded.py` replays them.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MAX_BODY = 4096  # longer requests are not recorded
LIMIT = 300
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_FREE_FORM = ("metadata", "payload", "factors")


def shape(value: Any) -> Any:
    """Return the names of fields and the types of values. Lists have the shape of their first item."""
    if isinstance(value, dict):
        return {name: "any" if name in _FREE_FORM else shape(item) for name, item in sorted(value.items())}
    if isinstance(value, list):
        return [shape(item) for item in value[:1]]
    return "any" if value is None else "number" if isinstance(value, int | float) else type(value).__name__


def exchange(method: str, path: str, sent: bytes, status: int, answer: bytes, *, has_key: bool) -> dict[str, Any]:
    try:
        body, found = json.loads(answer), _ID.findall(answer.decode())
    except ValueError:
        body, found = None, []
    return {
        "method": method,
        "path": path,
        "body": json.loads(sent) if sent else None,
        "key": has_key,
        "status": status,
        "shape": shape(body) if status < 400 else "any",
        "ids": list(dict.fromkeys(found))[:20] if status < 400 else [],
    }


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *arguments: object) -> None:
        """Return the redirect to the client."""


class Recorder(BaseHTTPRequestHandler):
    opener = urllib.request.build_opener(NoRedirect)
    server_url: str
    operator: str
    recorded: list[dict[str, Any]]
    lock = threading.Lock()
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: object) -> None:
        """Print nothing."""

    def forward(self) -> None:
        sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        names = ("Authorization", "X-API-Key", "Content-Type", "X-Soma-Tenant", "X-Tenant")
        headers = {name: self.headers[name] for name in names if self.headers[name]}
        request = urllib.request.Request(self.server_url + self.path, sent or None, headers, method=self.command)  # noqa: S310
        try:
            with self.opener.open(request, timeout=60) as response:
                status, answer, kind = response.status, response.read(), response.headers["Content-Type"]
        except urllib.error.HTTPError as error:
            status, answer, kind = error.code, error.read(), error.headers["Content-Type"]
            location = error.headers["Location"]
        key = headers.get("Authorization", headers.get("X-API-Key", "")).removeprefix("Bearer ")
        if len(sent) <= MAX_BODY and key != self.operator and status != 401:
            with self.lock:
                self.recorded.append(exchange(self.command, self.path, sent, status, answer, has_key=bool(key)))
        self.send_response(status)
        if status in (301, 302):
            self.send_header("Location", f"{self.server_url}{location}")
        self.send_header("Content-Type", kind or "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_POST = do_PUT = do_DELETE = forward


def main(server: str, file: str, command: list[str]) -> int:
    Recorder.server_url, Recorder.recorded = server, []
    Recorder.operator = os.environ["COMPAT_OPERATOR_KEY"]
    proxy = ThreadingHTTPServer(("127.0.0.1", 0), Recorder)
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    environment = {**os.environ, "COMPAT_SERVER": f"http://127.0.0.1:{proxy.server_port}"}
    code = subprocess.run(command, env=environment, check=False).returncode  # noqa: S603 - given by the caller
    write(file, Recorder.recorded[:LIMIT])
    return code


def write(file: str, recorded: list[dict[str, Any]]) -> None:
    """Write the shapes, each once, and then the exchanges with the numbers of their shapes."""
    texts = [compact(item["shape"]) for item in recorded]
    texts = [text if len(text) <= MAX_BODY else '"any"' for text in texts]  # such as OpenAPI documents
    shapes = list(dict.fromkeys(texts))
    with open(file, "w", encoding="utf-8") as lines:
        lines.write(f"[{','.join(shapes)}]\n")
        for item, text in zip(recorded, texts, strict=True):
            lines.write(compact({**item, "shape": shapes.index(text)}) + "\n")


def compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
