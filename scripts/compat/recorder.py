"""Forward requests to a server and write each exchange to a file, one JSON object per line.

`recorder.py FILE SERVER` prints its port. Needs only the standard library: it runs in the client's environment.

An exchange has `method`, `path` (with the query), `body`, `status` and `answer`. Ids are numbered in the order of their
appearance ("#1"), so that a replay can put its own ids in their place. Errors keep only `detail`.
"""

from __future__ import annotations

import http.client
import json
import re
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


class Recorder(ThreadingHTTPServer):
    def __init__(self, path: str, server: str) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.server_url, self.upstream = server, urlsplit(server).netloc
        self.file = open(path, "a")  # noqa: SIM115 - until the process ends
        self.ids: dict[str, str] = {}

    def write(self, method: str, path: str, body: bytes, status: int, answer: bytes) -> None:
        said = json.loads(answer)
        if status >= 400:
            said = {"detail": said["detail"]}
        exchange = {
            "method": method,
            "path": unquote(path) if ID.search(path) else path,
            "body": json.loads(body) if body else None,
            "status": status,
            "answer": said,
        }
        text = ID.sub(self.numbered, json.dumps(exchange, separators=(",", ":"), ensure_ascii=False))
        self.file.write(text.replace(f"http://{self.upstream}", "http://testserver") + "\n")
        self.file.flush()

    def numbered(self, match: re.Match[str]) -> str:
        return self.ids.setdefault(match[0], f"#{len(self.ids) + 1}#")


class Handler(BaseHTTPRequestHandler):
    server: Recorder
    protocol_version = "HTTP/1.1"

    def forward(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name: self.headers[name] for name in ("Authorization", "Content-Type") if name in self.headers}
        connection = http.client.HTTPConnection(self.server.upstream, timeout=60)
        connection.request(self.command, self.path, body or None, headers)
        response = connection.getresponse()
        answer = response.read()
        connection.close()
        if "wrong" not in headers.get("Authorization", "") and response.status != 401:
            self.server.write(self.command, self.path, body, response.status, answer)
        self.send_response(response.status)
        self.send_header("Content-Type", response.headers["Content-Type"])
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = forward

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing."""


if __name__ == "__main__":
    recorder = Recorder(*sys.argv[1:])
    print(recorder.server_port, flush=True)
    recorder.serve_forever()
