"""Copy memories and links from the PostgreSQL database of SomaFractalMemory to a running SomaMemory.

    SOMA_KEY=… python scripts/from_somafractalmemory.py postgres://user:password@host/database http://127.0.0.1:9595
    … --tenant acme     only this tenant, into the tenant of the key (X-Tenant: acme for an operator's key)
    … --verify          then read the memories back, and compare their number and a hash of their content

Reads `sfm_memories` and `sfm_graph_links` in the format of SomaFractalMemory's Django version (according to its source
code in November 2026), and does not change them. It can be run again, and then replaces what it copied before. If the
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
from collections.abc import Iterable, Iterator
from typing import Any

import psycopg
from psycopg.rows import dict_row

AT_ONCE = 500
MEMORIES = """
    SELECT id, namespace, coordinate, memory_type, payload, metadata, importance, created_at FROM sfm_memories
    WHERE tenant = %s AND NOT is_deleted ORDER BY created_at, id
"""
LINKS = """
    SELECT namespace, from_coordinate, to_coordinate, link_type, strength, metadata FROM sfm_graph_links
    WHERE tenant = %s ORDER BY created_at, id
"""


def memory(row: dict[str, Any]) -> dict[str, Any]:
    """Convert a row to the format of SomaMemory's API. Fields without an equivalent are stored in the metadata."""
    was = {"id": str(row["id"]), "created_at": row["created_at"].isoformat()}
    if row["memory_type"] not in ("episodic", "semantic"):  # SomaFractalMemory also has beliefs
        was["memory_type"] = row["memory_type"]
    if not 0 <= row["importance"] <= 10:
        was["importance"] = row["importance"]
    return {
        "namespace": row["namespace"],
        "coord": row["coordinate"],
        "memory_type": "episodic" if row["memory_type"] == "episodic" else "semantic",
        "payload": row["payload"],
        "metadata": {**(row["metadata"] or {}), "somafractalmemory": was},
        "importance": min(max(row["importance"], 0), 10),
    }


def link(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "namespace": row["namespace"],
        "from_coord": row["from_coordinate"],
        "to_coord": row["to_coordinate"],
        "link_type": row["link_type"],
        "strength": min(max(row["strength"], 0), 1),
        "metadata": row["metadata"] or {},
    }


def batches(items: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    remaining = iter(items)
    while batch := list(itertools.islice(remaining, AT_ONCE)):
        yield batch


class Digest:
    """The number of memories, and a hash that does not depend on their order."""

    def __init__(self) -> None:
        self.count, self.sum, self.namespaces = 0, 0, set[str]()

    def add(self, memory: dict[str, Any]) -> None:
        """Add a memory as we send it or as the target returns it."""
        coordinate = memory.get("coordinate") or memory["coord"]
        content = [memory["namespace"], [float(number) for number in coordinate], memory["memory_type"]]
        text = json.dumps([*content, memory["payload"], float(memory["importance"])], sort_keys=True)
        self.count += 1
        self.sum += int.from_bytes(hashlib.sha256(text.encode()).digest())
        self.namespaces.add(memory["namespace"])

    def __str__(self) -> str:
        return f"{self.count:,} memories, hash {self.sum % 2**256:064x}"


class Target:
    """A SomaMemory server.

    Raises OSError if it cannot be reached, and SystemExit if it rejects a whole request.
    """

    def __init__(self, url: str, key: str, tenant: str) -> None:
        self.url, self.refused = url.rstrip("/"), 0
        self.headers = {"Authorization": f"Bearer {key}", "X-Tenant": tenant, "Content-Type": "application/json"}

    def send(self, path: str, name: str, items: list[dict[str, Any]]) -> None:
        body = json.dumps({name: items}).encode()
        request = urllib.request.Request(self.url + path, body, self.headers)  # noqa: S310 - the caller's own
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
        """Return the digest of the memories that came from SomaFractalMemory."""
        digest = Digest()
        for namespace in sorted(namespaces):
            query = {"namespace": namespace, "limit": "1000"}
            while True:
                request = urllib.request.Request(  # noqa: S310 - the caller's own
                    f"{self.url}/api/v1/memories?{urllib.parse.urlencode(query)}", headers=self.headers
                )
                with urllib.request.urlopen(request, timeout=300) as response:  # noqa: S310
                    page = json.load(response)
                for memory in page["items"]:
                    if "somafractalmemory" in memory["metadata"]:
                        digest.add(memory)
                if page["next_cursor"] is None:
                    break
                query["cursor"] = page["next_cursor"]
        return digest


def counted(memories: Iterator[dict[str, Any]], digest: Digest) -> Iterator[dict[str, Any]]:
    for memory in memories:
        digest.add(memory)
        yield memory


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
    target = Target(given.target, os.environ["SOMA_KEY"], given.tenant)
    # Server-side cursors, so that the rows of a large table are not held in memory.
    with psycopg.connect(given.source, row_factory=dict_row) as connection:
        for path, name, statement, made in (
            ("/api/v1/memories/bulk", "items", MEMORIES, memory),
            ("/api/v1/graph/links/bulk", "links", LINKS, link),
        ):
            count = 0
            with connection.cursor(name=name) as rows:
                rows.execute(statement, [given.tenant])
                converted = map(made, rows)
                for batch in batches(counted(converted, sent) if name == "items" else converted):
                    target.send(path, name, batch)
                    count += len(batch)
            print(f"{count:,} {'memories' if name == 'items' else name}")
    return 1 if target.refused or (given.verify and not verified(target, sent)) else 0


if __name__ == "__main__":
    sys.exit(main())
