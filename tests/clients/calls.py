"""Call each client method, in an order in which all calls succeed, to compare two transports.

python tests/clients/calls.py FOLDER      make the calls with an embedded client, and print the results as JSON
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[:0] = [
        str(Path(__file__).resolve().parents[2]),
        str(Path(__file__).resolve().parents[2] / "clients/python/src"),
    ]

from somamemory_client import Client, SomaError

Results = dict[str, Any]
ZIP = b"# Talk\n\n**user**: Hello\n\n**assistant**: Hi\n"


def all_calls(client: Client) -> Results:
    """Return the result of each call by its name, without values that must differ between two services."""
    results: Results = {}

    def record(name: str, call: Callable[[], Any]) -> Any:
        try:
            result = call()
        except SomaError as error:
            result = {"error": type(error).__name__, "detail": getattr(error, "detail", str(error))}
        results[name] = comparable(result)
        return result

    _memories(client, record)
    _conversations(client, record)
    _graph(client, record)
    _admin(client, record)
    return results


def _memories(client: Client, record: Callable[[str, Callable[[], Any]], Any]) -> None:
    memories = client.memories
    record("store", lambda: memories.store("Ada drinks coffee", key="ada/coffee", coord=[1, 1], user_id="ada"))
    record("store again", lambda: memories.store({"text": "Bob drinks tea"}, key="bob/tea", coord=[1, 2]))
    record("get", lambda: memories.get(coord=[1, 1]))
    record("get by key", lambda: memories.get(key="ada/coffee"))
    record("get nothing", lambda: memories.get(key="nobody"))
    record("update", lambda: memories.update(key="ada/coffee", importance=3, if_match=1))
    record("update the wrong version", lambda: memories.update(key="ada/coffee", importance=4, if_match=1))
    record("history", lambda: list(memories.history(key="ada/coffee")))
    record("search", lambda: list(memories.search("What does Ada drink?", mode="keyword", user_id="ada")))
    record("list", lambda: list(memories.list(limit=1)))
    record("map", lambda: memories.map())
    record("store_many", lambda: memories.store_many(["one", {"payload": {}, "importance": 99}]))
    record("store_all", lambda: vars(memories.store_all([{"payload": {"n": n}, "coord": [2, n]} for n in range(5)])))
    record("get_many", lambda: memories.get_many(keys=["ada/coffee", "nobody"]))
    record("delete", lambda: memories.delete(key="bob/tea"))
    record("restore", lambda: memories.restore(key="bob/tea"))
    record("delete_many", lambda: memories.delete_many(coords=[[2, 0], [9, 9]]))
    record("delete_matching", lambda: memories.delete_matching(prefix=[2], dry_run=True))
    record("invalid", lambda: client.request("POST", "/memories", json={"payload": 1}))
    record("no route", lambda: client.request("GET", "/nothing"))
    record("namespaces", lambda: list(client.namespaces.list()))
    record("rename", lambda: client.namespaces.rename("default", "moved"))
    record("delete namespace", lambda: client.namespaces.delete("moved"))
    record("proposals", lambda: list(client.proposals.list()))


def _conversations(client: Client, record: Callable[[str, Callable[[], Any]], Any]) -> None:
    conversations = client.conversations
    created = record("create", lambda: conversations.create(external_id="t-1", label="Trip"))
    id = created["id"]
    record(
        "append", lambda: conversations.append([{"role": "user", "content": "Where to? To the sea"}], external_id="t-1")
    )
    record("messages", lambda: list(conversations.messages(id)))
    record("conversation", lambda: conversations.get(id))
    record("conversations", lambda: list(conversations.list()))
    record("count", lambda: conversations.count())
    record("update conversation", lambda: conversations.update(id, metadata={"year": 2026}))
    record("label", lambda: conversations.set_label(id, "Holidays"))
    record("folder", lambda: conversations.set_folder(id, "/private"))
    record("pin", lambda: conversations.pin(id))
    record("full text", lambda: list(conversations.search_full_text("sea")))
    record("query", lambda: list(conversations.search("sea")))
    record("assemble", lambda: client.context.assemble("sea"))
    record("manifest", lambda: sorted(client.context.manifest("sea")))
    record("prompt", lambda: client.context.prompt("sea")["text"])
    record("suggest labels", lambda: conversations.suggest_labels(id))
    record("export", lambda: conversations.export(format="markdown"))
    record("import", lambda: conversations.import_file(ZIP, "text/markdown", name="talk.md"))
    record("archive", lambda: conversations.archive(id))
    record("status", lambda: conversations.set_status(id, "active"))
    record("delete conversation", lambda: conversations.delete(id, purge=True))


def _graph(client: Client, record: Callable[[str, Callable[[], Any]], Any]) -> None:
    graph = client.graph
    record("link", lambda: graph.link(from_coord=[1], to_coord=[2]))
    record("link_many", lambda: graph.link_many([{"from_coord": [2], "to_coord": [3]}]))
    record("neighbors", lambda: list(graph.neighbors(coord=[1], k_hop=2)))
    record("path", lambda: graph.path(from_coord=[1], to_coord=[3]))
    record("graph export", lambda: graph.export(format="graphml"))
    record("unlink", lambda: graph.unlink(from_coord=[1], to_coord=[2]))


def _admin(client: Client, record: Callable[[str, Callable[[], Any]], Any]) -> None:
    admin = client.admin
    record("tenant", lambda: admin.tenants.create("globex", name="Globex"))
    record("tenants", lambda: [tenant["slug"] for tenant in admin.tenants.list()])
    record("change tenant", lambda: admin.tenants.update("globex", name="Globex Corporation"))
    record("key", lambda: sorted(admin.keys.create("globex", name="k")))
    key = next(iter(admin.keys.list("globex")))
    record("revoke", lambda: sorted(admin.keys.revoke("globex", key["prefix"])))
    record("other tenant", lambda: list(client.tenant("globex").memories.list()))
    record("usage", lambda: admin.tenants.usage("globex"))
    record("audit", lambda: [entry["action"] for entry in admin.tenants.audit("globex")])
    record("erase", lambda: admin.tenants.erase("globex"))
    record("upkeep", lambda: admin.upkeep.get())
    record("prune", lambda: admin.pruning.preview())
    record("ready", lambda: client.is_ready())
    record("health", lambda: client.health()["status"])


UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{32}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)?|\d{4}-\d\d-\d\d")
ALLOCATED = re.compile(r"202\d{5}\.0,[\d.]+,[\d.]+")
VOLATILE = {"index_state", "took_ms", "score", "scores", "coordinate", "latency_ms", "elsewhere", "access_count", "by"}
# Tables to which periodic work adds rows. An erasure receipt counts these rows.
VOLATILE |= {"sfm_audit_blocks", "sfm_audit_checkpoints", "sfm_upkeep", "sfm_usage_daily", "sfm_usage_stripes"}


def comparable(value: Any) -> Any:
    """Replace values that differ between two services: ids, times and coordinates. Omit volatile fields."""
    if isinstance(value, dict):
        return {name: comparable(item) for name, item in value.items() if name not in VOLATILE}
    if isinstance(value, list | tuple):
        return [comparable(item) for item in value]
    if isinstance(value, str):
        return ALLOCATED.sub("COORD", TIME.sub("TIME", UUID.sub("ID", value)))
    return value


if __name__ == "__main__":
    print(json.dumps(all_calls(Client.embedded(sys.argv[1]))))
