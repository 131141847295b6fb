"""Random requests near the limits of the schema, for `benchmarks.worst_requests`."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

BATCH = 1_000
LARGE_TOOL = "large tool"
WORDS = ("alpha", "beta", "gamma", "delta", "lorem", "ipsum", "dolor", "sit", "amet", "漢字", "straße", "ΟΔΟΣ")
# Texts that take up 9.8 MB as JSON. Each is expensive for a different part of the service.
LARGE: tuple[Callable[[], Any], ...] = (
    lambda: "Lorem ipsum dolor sit amet " * 363_000,
    lambda: "漢字" * 1_630_000,
    lambda: "a" * 9_800_000,
    lambda: ["lorem ipsum dol"] * 499_000,
    lambda: [1_234_567_890_123_456_789] * 490_000,
)


@dataclass(frozen=True)
class Sent:
    """One request. `long` is true if the deadline for long requests applies."""

    kind: str
    method: str
    path: str
    body: Any = None
    raw: bytes | None = None
    long: bool = False


@dataclass
class Worst:
    """Generates requests at random, each near a limit of its schema."""

    chance: random.Random
    made: int = field(default=0, init=False)

    def next(self) -> Sent:
        self.made += 1
        makers = (
            self.search, self.search, self.search, self.large_needles, self.list, self.box, self.near, self.map,
            self.neighbours, self.path, self.export, self.bulk_get, self.bulk_store, self.store, self.query,
            self.full_text, self.context, self.import_file, self.history, self.past, self.delete_matching, self.tool,
            self.large_tool,
        )  # fmt: skip
        return makers[self.made % len(makers)]()

    def search(self) -> Sent:
        body: dict[str, Any] = {
            "query": self.words(200),
            "top_k": 200,
            "offset": self.chance.choice((0, 100, 10_000)),
            "filters": self.filters(),
            "mode": self.chance.choice(("hybrid", "keyword", "semantic")),
            "consistency": self.chance.choice(("eventual", "strong")),
            "include_archived": self.chance.random() < 0.5,
            "explain": True,
        }
        if self.chance.random() < 0.5:
            body["prefix"] = [self.chance.choice((0, 7))]
        if self.chance.random() < 0.3:
            body["expand"] = {"hops": 3, "weight": 1.0}
        return Sent("search", "POST", "/api/v1/memories/search", body)

    def large_needles(self) -> Sent:
        """Search with 99 conditions for strings that almost occur in the large memories."""
        needle = self.chance.choice(("a" * 999 + "b", "b" + "a" * 999, "needle", "漢" * 999 + "字字"))
        conditions = [{"text": {"icontains": f"{needle}"[-1_000:]}} for _ in range(99)]
        body = {"query": "lorem", "prefix": [7], "filters": {"OR": conditions}, "top_k": 200}
        return Sent("large needles", "POST", "/api/v1/memories/search", body)

    def filters(self) -> dict[str, Any]:
        fields = ("text", "payload.tags", "metadata.source", "n", "payload.a.b.c", "importance", "created_at")
        conditions: list[dict[str, Any]] = []
        while len(conditions) < 98:
            name = self.chance.choice(fields)
            conditions.append({name: self.condition(name)})
        parts = [{"AND": conditions[at : at + 7]} for at in range(0, 98, 7)]
        return {self.chance.choice(("OR", "NOT", "AND")): parts}

    def condition(self, name: str) -> dict[str, Any]:
        if name == "importance":
            return {"gte": self.chance.random()}
        if name == "created_at":
            return {"gte": "2020-01-01T00:00:00Z"}
        word = self.words(self.chance.choice((1, 3, 30)))[:1_000]
        values = [self.words(1) for _ in range(100)]
        kinds = ({"icontains": word}, {"contains": word}, {"in": values}, {"nin": values}, {"gt": word}, {"ne": 1})
        return self.chance.choice(kinds)

    def list(self) -> Sent:
        order = self.chance.choice(("coordinate", "-created_at", "updated_at"))
        prefix = self.chance.choice(("", "&prefix=7", "&prefix=0"))
        return Sent("list", "GET", f"/api/v1/memories?limit=1000&include_deleted=true&order={order}{prefix}")

    def box(self) -> Sent:
        return Sent("box", "GET", "/api/v1/memories?limit=1000&box=-1e300,-1e300;1e300,1e300")

    def near(self) -> Sent:
        return Sent("near", "GET", "/api/v1/memories?limit=1000&near=7,5&radius=1e100")

    def map(self) -> Sent:
        what = self.chance.choice(("axes=0,1&resolution=128", "axes=1&resolution=128", "depth=2&limit=1000"))
        return Sent("map", "GET", f"/api/v1/memories/map?{what}")

    def neighbours(self) -> Sent:
        where = self.chance.choice(("0,0", f"0,{self.chance.randrange(1, 1000)}"))
        query = f"coord={where}&k_hop=5&limit=1000&include_memory=true"
        return Sent("neighbours", "GET", f"/api/v1/graph/neighbors?{query}")

    def path(self) -> Sent:
        ends = f"from_coord=0,{self.chance.randrange(1000)}&to_coord=0,{self.chance.randrange(1000, 2000)}"
        return Sent("path", "GET", f"/api/v1/graph/path?{ends}&max_length=20&weighted=true")

    def export(self) -> Sent:
        path = self.chance.choice(
            (
                "export?format=json",
                "export?format=markdown",
                "graph/export?format=graphml",
                "graph/export",
                "tenants/default/export",
            )
        )
        return Sent("export", "GET", f"/api/v1/{path}", long=True)

    def bulk_get(self) -> Sent:
        coords = [[7, number % 10] for number in range(500)] + [[0, number] for number in range(500)]
        return Sent("bulk get", "POST", "/api/v1/memories/bulk/get", {"coords": coords})

    def bulk_store(self) -> Sent:
        text = self.words(9_000_000 // 6 // BATCH)
        items = [{"coord": [8, self.made, number], "payload": {"text": text}} for number in range(BATCH)]
        return Sent("bulk store", "POST", "/api/v1/memories/bulk", {"items": items})

    def store(self) -> Sent:
        return large_memory(self.chance.randrange(10), self.chance.choice(LARGE))

    def query(self) -> Sent:
        conditions = [{"content": {"icontains": self.words(3)}} for _ in range(90)]
        body = {"query": self.words(100), "limit": 100, "offset": 1_000, "filters": {"OR": conditions}}
        return Sent("query", "POST", "/api/v1/query", body)

    def full_text(self) -> Sent:
        return Sent("full text", "POST", "/api/v1/search/fts", {"query": "lorem -needle", "limit": 100})

    def context(self) -> Sent:
        body = {"query": self.words(500), "context_budget": 1_000_000, "preferred_labels": ["benchmark"]}
        return Sent("context", "POST", "/api/v1/context/assemble?manifest=true", body)

    def history(self) -> Sent:
        return Sent("history", "GET", f"/api/v1/memories/7,{self.chance.randrange(10)}/history")

    def past(self) -> Sent:
        moment = (datetime.now(UTC) - timedelta(seconds=30)).isoformat().replace("+00:00", "Z")
        order = self.chance.choice(("coordinate", "-created_at"))
        return Sent("past", "GET", f"/api/v1/memories?limit=1000&as_of={moment}&order={order}")

    def delete_matching(self) -> Sent:
        body = {"namespace": "default", "filters": self.filters(), "dry_run": True}
        return Sent("delete", "POST", "/api/v1/memories/delete", body)

    def tool(self) -> Sent:
        name, arguments = self.chance.choice(
            (
                ("memory_search", {"query": self.words(200), "limit": 50, "filters": self.filters()}),
                ("memory_context", {"query": self.words(200), "max_tokens": 20_000}),
            )
        )
        return _tool_call("tool", name, arguments)

    def large_tool(self) -> Sent:
        """Call a tool that finds at least one of the large memories. At most 20,000 tokens are returned."""
        name, arguments = self.chance.choice(
            (
                (
                    "memory_search",
                    {"query": "lorem", "limit": 50, "filters": {"metadata.large": True}, "max_tokens": 20_000},
                ),
                ("memory_get", {"key": f"large-{self.chance.randrange(10)}", "links": True, "max_tokens": 20_000}),
                ("memory_get", {"key": f"large-{self.chance.randrange(10)}", "max_tokens": 100}),
            )
        )
        return _tool_call(LARGE_TOOL, name, arguments)

    def import_file(self) -> Sent:
        text = f"# {self.made}\n\n" + "".join(f"## user\n\n{self.words(50)}\n\n" for _ in range(300))
        path = f"/api/v1/import?name=conversation-{self.made}.md"
        return Sent("import", "POST", path, raw=text.encode(), long=True)

    def words(self, count: int) -> str:
        return " ".join(self.chance.choices(WORDS, k=count))


def _tool_call(kind: str, name: str, arguments: dict[str, Any]) -> Sent:
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": name, "arguments": arguments}}
    return Sent(kind, "POST", "/mcp", call)


def large_memory(at: int, content: Callable[[], Any]) -> Sent:
    body = {"coord": [7, at], "key": f"large-{at}", "metadata": {"large": True}, "payload": {"text": content()}}
    return Sent("store", "POST", "/api/v1/memories", body)
