"""A stand-in for the mem0ai package that sends the same requests as its client: see tests/compat/mem0_exchanges.jsonl.

It is used to run the Python code on the page about migrating from mem0. `make test-compat ARGS=mem0` runs it with the
real package.
"""

from __future__ import annotations

import json
import os
import urllib.request
from typing import Any
from urllib.parse import urlencode


class MemoryClient:
    def __init__(self, api_key: str | None = None, host: str | None = None) -> None:
        self.key = api_key or os.environ["MEM0_API_KEY"]
        self.host = (host or os.environ["MEM0_HOST"]).rstrip("/")
        self._call("GET", "/v1/ping/")

    def add(self, text: str, **options: Any) -> Any:
        return self._call("POST", "/v3/memories/add/", {"messages": [{"role": "user", "content": text}], **options})

    def search(self, query: str, **options: Any) -> Any:
        return self._call("POST", "/v3/memories/search/", {"query": query, **options})

    def get_all(self, filters: dict[str, Any], page: int, page_size: int) -> Any:
        query = urlencode({"page": page, "page_size": page_size})
        return self._call("POST", f"/v3/memories/?{query}", {"filters": filters})

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Token {self.key}", "Content-Type": "application/json"}
        request = urllib.request.Request(self.host + path, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=60) as response:
            return json.load(response)
