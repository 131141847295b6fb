"""Copy memories and links from SomaFractalMemory's PostgreSQL database to a running SomaMemory server.

    SOMA_API_KEY=… python scripts/from_somafractalmemory.py postgres://user:password@host/database http://127.0.0.1:9595
    … --tenant acme     only this tenant, into the key's tenant (X-Tenant: acme for an operator's key)
    … --verify          then read the memories and links back, and compare the numbers and a hash of their content

Reads `sfm_memories` and `sfm_graph_links` in the format of SomaFractalMemory's Django version (according to its source
code in November 2026), and does not change them. If the script is run again, it replaces what it copied before. If the
target rejects any items, they are printed and the exit status is 1.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import os
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import psycopg
from psycopg.rows import dict_row

AT_ONCE = 500
MARK = "somafractalmemory"  # the field that is added to the metadata of copied memories and links
MEMORIES = """
    SELECT id, namespace, coordinate, memory_type, payload, metadata, importance, created_at FROM sfm_memories
    WHERE tenant = %s AND NOT is_deleted ORDER BY created_at, id
"""
LINKS = """
    SELECT id, namespace, from_coordinate, to_coordinate, link_type, strength, metadata, created_at FROM sfm_graph_links
    WHERE tenant = %s ORDER BY created_at, id
"""


def memory(row: dict[str, Any]) -> dict[str, Any]:
    """Convert a row to SomaMemory's API format. Fields without an equivalent are stored in the metadata."""
    original = origin(row)
    if row["memory_type"] not in ("episodic", "semantic"):  # SomaFractalMemory also has beliefs
        original["memory_type"] = row["memory_type"]
    if not 0 <= row["importance"] <= 10:
        original["importance"] = row["importance"]
    return {
        "namespace": row["namespace"],
        "coord": row["coordinate"],
        "memory_type": "episodic" if row["memory_type"] == "episodic" else "semantic",
        "payload": row["payload"],
        "metadata": {**(row["metadata"] or {}), MARK: original},
        "importance": min(max(row["importance"], 0), 10),
    }


def link(row: dict[str, Any]) -> dict[str, Any]:
    original = origin(row)
    if not 0 <= row["strength"] <= 1:
        original["strength"] = row["strength"]
    return {
        "namespace": row["namespace"],
        "from_coord": row["from_coordinate"],
        "to_coord": row["to_coordinate"],
        "link_type": row["link_type"],
        "strength": min(max(row["strength"], 0), 1),
        "metadata": {**(row["metadata"] or {}), MARK: original},
    }


def origin(row: dict[str, Any]) -> dict[str, Any]:
    return {"id": str(row["id"]), "created_at": row["created_at"].isoformat()}


def batches(items: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    remaining = iter(items)
    while batch := list(itertools.islice(remaining, AT_ONCE)):
        yield batch


class Digest:
    """The number of memories and links, and a hash of their content that does not depend on their order."""

    def __init__(self) -> None:
        self.memories, self.links, self.sum, self.namespaces = 0, 0, 0, set[str]()

    def add_memory(self, memory: dict[str, Any]) -> None:
        """Add a memory, either as it is sent or as the target returns it."""
        coordinate = memory.get("coordinate") or memory["coord"]
        content = [memory["namespace"], numbers(coordinate), memory["memory_type"], memory["payload"]]
        self.memories += 1
        self._add(memory["namespace"], [*content, float(memory["importance"]), memory["metadata"]])

    def add_link(self, link: dict[str, Any]) -> None:
        """Add a link, either as it is sent or as the target returns it."""
        content = [link["namespace"], numbers(link["from_coord"]), numbers(link["to_coord"]), link["link_type"]]
        self.links += 1
        self._add(link["namespace"], [*content, float(link["strength"]), link["metadata"]])

    def _add(self, namespace: str, content: list[Any]) -> None:
        text = json.dumps(content, sort_keys=True)
        self.sum += int.from_bytes(hashlib.sha256(text.encode()).digest())
        self.namespaces.add(namespace)

    def __str__(self) -> str:
        return f"{self.memories:,} memories, {self.links:,} links, hash {self.sum % 2**256:064x}"


def numbers(coordinate: str | list[float]) -> list[float]:
    parts = coordinate.split(",") if isinstance(coordinate, str) else coordinate
    return [float(number) for number in parts]


class Target:
    """The SomaMemory server to copy to.

    Its methods raise OSError if the server cannot be reached, and SystemExit if it rejects a whole request.
    """

    def __init__(self, url: str, key: str, tenant: str) -> None:
        self.url, self.refused = url.rstrip("/"), 0
        self.headers = {"Authorization": f"Bearer {key}", "X-Tenant": tenant, "Content-Type": "application/json"}

    def send(self, path: str, name: str, items: list[dict[str, Any]]) -> None:
        body = json.dumps({name: items}).encode()
        request = urllib.request.Request(self.url + path, body, self.headers)  # noqa: S310 - the user's own URL
        try:
            with urllib.request.urlopen(request, timeout=300) as response:  # noqa: S310
                results = json.load(response)["results"]
        except urllib.error.HTTPError as error:
            sys.exit(f"error: {path} returned {error.code}: {error.read(2000).decode(errors='replace')}")
        for result in results:
            if result.get("error"):
                self.refused += 1
                print(f"rejected: {json.dumps(items[result['index']])[:200]}: {result['error']}", file=sys.stderr)

    def digest(self, namespaces: set[str]) -> Digest:
        """Return the digest of the memories and links that came from SomaFractalMemory."""
        digest = Digest()
        for namespace in sorted(namespaces):
            for memory in self._memories(namespace):
                if MARK in memory["metadata"]:
                    digest.add_memory(memory)
            for link in self._get("/api/v1/graph/export", namespace=namespace)["links"]:
                if MARK in link["metadata"]:
                    digest.add_link(link)
        return digest

    def _memories(self, namespace: str) -> Iterator[dict[str, Any]]:
        query = {"namespace": namespace, "limit": "1000"}
        while True:
            page = self._get("/api/v1/memories", **query)
            yield from page["items"]
            if page["next_cursor"] is None:
                return
            query["cursor"] = page["next_cursor"]

    def _get(self, path: str, **query: str) -> Any:
        url = f"{self.url}{path}?{urllib.parse.urlencode(query)}"
        request = urllib.request.Request(url, headers=self.headers)  # noqa: S310 - the user's own URL
        with urllib.request.urlopen(request, timeout=300) as response:  # noqa: S310
            return json.load(response)


def counted(items: Iterator[dict[str, Any]], add: Callable[[dict[str, Any]], None]) -> Iterator[dict[str, Any]]:
    for item in items:
        add(item)
        yield item


def verified(target: Target, sent: Digest) -> bool:
    stored = target.digest(sent.namespaces)
    print(f"sent:   {sent}\nstored: {stored}")
    return str(sent) == str(stored)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("target")
    parser.add_argument("--tenant", default="default")
    parser.add_argument("--verify", action="store_true")
    given = parser.parse_args()
    sent = Digest()
    target = Target(given.target, os.environ["SOMA_API_KEY"], given.tenant)
    # Use server-side cursors, so that the rows of a large table are not held in memory.
    with psycopg.connect(given.source, row_factory=dict_row) as connection:
        for path, name, statement, made, add in (
            ("/api/v1/memories/bulk", "items", MEMORIES, memory, sent.add_memory),
            ("/api/v1/graph/links/bulk", "links", LINKS, link, sent.add_link),
        ):
            count = 0
            with connection.cursor(name=name) as rows:
                rows.execute(statement, [given.tenant])
                for batch in batches(counted(map(made, rows), add)):
                    target.send(path, name, batch)
                    count += len(batch)
            print(f"{count:,} {'memories' if name == 'items' else name}")
    return 1 if target.refused or (given.verify and not verified(target, sent)) else 0


if __name__ == "__main__":
    sys.exit(main())
