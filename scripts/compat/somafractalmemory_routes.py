"""Run 37 checks of SomaFractalMemory's routes with their options, and of the response fields in its source code."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

from checks import KEY, OPERATOR_KEY, run, wait_for_index

SERVER = os.environ["COMPAT_SERVER"]


def ask(method: str, path: str, body: Any = None, key: str = KEY, **headers: str) -> tuple[int, Any]:
    sent = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"} if key else {}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(SERVER + path, data, sent, method=method)  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310
            status, text = response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        status, text = error.code, error.read().decode()
    try:
        return status, json.loads(text)
    except ValueError:
        return status, text


def is_ok(method: str, path: str, body: Any = None, **options: str) -> Any:
    status, answer = ask(method, path, body, **options)
    if status != 200:
        raise AssertionError((status, answer))
    return answer


def store(coord: str, **more: Any) -> Any:
    return is_ok("POST", "/memories", {"coord": coord, "payload": {"text": f"The ibex climbs {coord}"}, **more})


def search(**query: Any) -> list[Any]:
    found: list[Any] = is_ok("GET", "/memories/search?" + urllib.parse.urlencode(query))["memories"]
    return found


def has(answer: Any, *names: str) -> bool:
    return set(names) <= set(answer)


def link(start: str, end: str, **more: Any) -> Any:
    return is_ok("POST", "/graph/link", {"from_coord": start, "to_coord": end, **more})


STORES = ("kv_store", "vector_store", "graph_store")
COUNTS = ("total_memories", "episodic", "semantic", "namespace")
for number in range(6):
    store(f"7,{number}", memory_type="semantic" if number % 2 else "episodic")
for number in range(4):
    link(f"7,{number}", f"7,{number + 1}", link_type="next", strength=0.5)
wait_for_index()

run(
    "SomaFractalMemory routes",
    {
        "GET /": lambda: has(is_ok("GET", "/", key=""), "status", "message", "metrics"),
        "GET /ping": lambda: is_ok("GET", "/ping", key="") == {"ping": "pong"},
        "GET /healthz": lambda: has(is_ok("GET", "/healthz", key=""), *STORES),
        "GET /readyz": lambda: has(is_ok("GET", "/readyz", key=""), *STORES),
        "GET /health/basic": lambda: has(is_ok("GET", "/health/basic", key=""), *STORES),
        "GET /health": lambda: has(
            is_ok("GET", "/health"), "healthy", "status", "version", "uptime_seconds", "timestamp", "services"
        ),
        "GET /health services": lambda: (
            {item["name"] for item in is_ok("GET", "/health")["services"]} == {"postgresql", "redis", "milvus"}
        ),
        "GET /health details": lambda: has(is_ok("GET", "/health"), "database", "tenants", "system"),
        "GET /stats": lambda: is_ok("GET", "/stats")["total_memories"] >= 6,
        "GET /stats without a key": lambda: has(is_ok("GET", "/stats", key=""), *COUNTS),
        "GET /test-stats": lambda: has(is_ok("GET", "/test-stats"), *COUNTS),
        "GET /test-stats without a key": lambda: ask("GET", "/test-stats", key="")[0] == 401,
        "GET /metrics": lambda: "# HELP" in is_ok("GET", "/metrics", key=""),
        "GET /openapi.json": lambda: "/memories/{coord}" in str(is_ok("GET", "/openapi.json", key="")),
        "GET /docs": lambda: "html" in is_ok("GET", "/docs", key=""),
        "POST /memories": lambda: has(store("8,1"), "coord", "memory_type"),
        "POST /memories again": lambda: store("8,1")["memory_type"] == "episodic",
        "POST /memories semantic": lambda: store("8,2", memory_type="semantic")["memory_type"] == "semantic",
        "POST /memories with unknown fields": lambda: store("8,3", ttl="x", universe="real")["coord"] != "",
        "POST /memories with null": lambda: store("8,4", memory_type=None)["memory_type"] == "episodic",
        "POST /memories, wrong coordinate": lambda: (
            lambda answer: answer[0] == 400 and "coord" in answer[1]["detail"]
        )(ask("POST", "/memories", {"coord": "target-3c6c5e16", "payload": {}})),
        "POST /memories without a key": lambda: (
            ask("POST", "/memories", {"coord": "1", "payload": {}}, key="")[0] == 401
        ),
        "GET /memories/{coord}": lambda: is_ok("GET", "/memories/7,1")["memory"]["payload"]["text"].endswith("7,1"),
        "GET /memories/{coord}, fields": lambda: has(
            is_ok("GET", "/memories/7,1")["memory"], "coordinate", "payload", "memory_type", "created_at", "importance"
        ),
        "GET /memories/{coord}, unknown": lambda: ask("GET", "/memories/99,99")[0] == 404,
        "DELETE /memories/{coord}": lambda: is_ok("DELETE", "/memories/8,1")["deleted"] is True,
        "DELETE /memories/{coord}, unknown": lambda: is_ok("DELETE", "/memories/99,99")["deleted"] is False,
        "GET /memories/search": lambda: len(search(query="ibex")) == 5,
        "GET /memories/search, page": lambda: len(search(query="ibex", top_k=2, offset=1)) == 2,
        "GET /memories/search, filters": lambda: (
            {item["memory_type"] for item in search(query="ibex", filters='{"memory_type": "semantic"}')}
            == {"semantic"}
        ),
        "GET /memories/search, many": lambda: len(search(query="ibex", top_k=500)) >= 6,
        "POST /memories/search": lambda: (
            len(
                is_ok(
                    "POST", "/memories/search", {"query": "ibex", "top_k": 3, "memory_type": None, "universe": "real"}
                )["memories"]
            )
            == 3
        ),
        "POST /graph/link": lambda: has(link("7,0", "7,5"), "from_coord", "to_coord", "link_type", "ok"),
        "POST /graph/link with metadata": lambda: link("7,0", "7,4", metadata={"a": 1}, link_type=None)["ok"],
        "GET /graph/neighbors": lambda: (
            is_ok("GET", "/graph/neighbors?coord=7,1&link_type=next&k_hop=1&limit=5&offset=0")["neighbors"][0][
                "coordinate"
            ]
            == [7.0, 2.0]
        ),
        "GET /graph/path": lambda: (
            is_ok("GET", "/graph/path?from_coord=7,0&to_coord=7,3&max_length=5&link_type=next")["link_types"]
            == ["next"] * 3
        ),
        "unknown tenant": lambda: (
            is_ok("GET", "/stats", key=OPERATOR_KEY, X_Soma_Tenant="brand-new")["total_memories"] == 0
        ),
    },
    expected=35,
)
