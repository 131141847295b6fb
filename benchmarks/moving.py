"""Move an installation from SQLite to PostgreSQL, and check that both return the same results.

    python -m benchmarks.moving --database postgres://… [--memories 50000]

The benchmark fills a server on SQLite, sends it queries and stops it. It then moves the data with `manage.py
migrate_database`, starts the server again on PostgreSQL with the same data folder, and sends the queries again. The
exit status is 0 if the command found equal counts and hashes, and all responses are the same.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg

from benchmarks.embedded import texts
from somamemory.db.databases import drop
from testing.server import ROOT, Server

BULK = 500
QUERIES = 50
SECRET = "not a secret, because it is only for a benchmark"
# Text that one of the two databases might store differently.
ODD: dict[str, Any] = {
    "numbers": [0.1, 1e16, -0.0, 1e22, 1e300, -1e-300, 5.0, 9_007_199_254_740_993, -(2**63), 0, True, None],
    "text": "naïve — 𝄞 \u2028 'quoted' \"twice\" \\ back",
    "": {"nested": [[], {}, ""]},
}


@contextlib.contextmanager
def empty_database(url: str) -> Iterator[str]:
    """Create an empty database on the same server, yield its URL, and drop it afterwards."""
    name = f"soma_moving_{os.getpid()}_{random.randrange(10**9)}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        try:
            yield urlunsplit(urlsplit(url)._replace(path=f"/{name}"))
        finally:
            drop(connection.execute, name)


def server(folder: pathlib.Path, **settings: str) -> Server:
    made = Server(folder, SOMA_SECRET_KEY=SECRET, SOMA_ACCESS_INTERVAL_S="1", **settings)
    made.key = made.environment["SOMA_BOOTSTRAP_KEY"] = "a-key-that-both-servers-know-0123456789"
    return made


def fill(running: Server, memories: int) -> None:
    """Store memories in bulk, including unusual, replaced and deleted ones, store links, and wait for the index."""
    client, source = running.client(), texts(seed=1)
    with contextlib.closing(client.connection):
        for first in range(0, memories, BULK):
            items = [
                {"coord": [n // 1000, n % 1000], "payload": {"text": next(source)}, "importance": n % 11}
                for n in range(first, min(first + BULK, memories))
            ]
            client.post("/memories/bulk", {"items": items})
        client.post("/memories", {"coord": "-1.5,2e-7", "payload": ODD, "metadata": ODD, "namespace": "odd"})
        for n in range(min(100, memories // 4)):
            client.post("/memories", {"coord": [0, n], "payload": {"text": next(source), "again": n}})
            client.post("/graph/link", {"from_coord": [0, n], "to_coord": [0, n + 1], "link_type": "follows"})
        client.post("/memories", {"coord": "9,9,9", "payload": {"text": "the last memory, which is deleted"}})
        assert client.call("DELETE", "/memories/9,9,9")[0] in (200, 204)
        client.wait_until_indexed(3600)


def answers(running: Server, memories: int) -> dict[str, Any]:
    """Return the server's responses to many queries."""
    dice, source = random.Random(7), texts(seed=1)
    words = [next(source).split() for _ in range(min(memories, 1000))]
    client = running.client()
    responses: dict[str, Any] = {}
    with contextlib.closing(client.connection):
        for mode in ("hybrid", "keyword", "semantic"):
            for number in range(QUERIES):
                query = " ".join(dice.choice(words)[:6])
                found = client.post("/memories/search", {"query": query, "top_k": 10, "mode": mode})
                responses[f"{mode} {number}"] = [
                    (memory["coord"], memory["payload"], memory["version"], round(memory["score"], 6))
                    for memory in found["memories"]
                ]
        responses["odd"] = client.get("/memories/-1.5,2e-7?namespace=odd")["memory"]["payload"]
        responses["neighbours"] = sorted(map(str, client.get("/graph/neighbors?coord=0,5")["neighbors"]))
        responses["gone"] = client.call("GET", "/memories/9,9,9")[0]
        responses["stats"] = client.get("/stats")
    return responses


def move(folder: pathlib.Path, url: str) -> subprocess.CompletedProcess[str]:
    return manage(folder, "migrate_database", "--to", "-", given=url + "\n")


def manage(folder: pathlib.Path, *words: str, given: str = "", **settings: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SOMA_")}
    return subprocess.run(
        [sys.executable, "manage.py", *words],
        input=given,
        cwd=ROOT,
        env=environment | {"SOMA_DATA_DIR": str(folder), "SOMA_SECRET_KEY": SECRET, **settings},
        capture_output=True,
        text=True,
        check=False,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database", default=os.environ.get("SOMA_DATABASE_URL", ""), help="postgres://…")
    parser.add_argument("--memories", type=int, default=50_000)
    options = parser.parse_args()
    if not options.database.startswith("postgres"):
        parser.error("--database must be the postgres://… URL of a server on which a database can be created")
    with tempfile.TemporaryDirectory() as name, empty_database(options.database) as url:
        folder = pathlib.Path(name)
        with server(folder) as running:
            fill(running, options.memories)
            before = answers(running, options.memories)
        began = time.monotonic()
        done = move(folder, url)
        print(f"moved in {time.monotonic() - began:.0f} s:\n{done.stdout}{done.stderr}")
        if done.returncode:
            return 1
        with server(folder, SOMA_DATABASE_URL=url) as running:
            after = answers(running, options.memories)
    different = [question for question in before if before[question] != after[question]]
    print(f"{len(before)} responses, {len(different)} of them different")
    for question in different[:5]:
        print(f"{question}\n  before {before[question]}\n  after  {after[question]}")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
