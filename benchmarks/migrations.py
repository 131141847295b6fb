"""Move generated data from mem0, Sekha and SomaFractalMemory, and compare counts and hashes.

    python -m benchmarks.migrations [--memories 10000] [--database postgres://…] [mem0] [sekha] [somafractalmemory]

The benchmark runs the commands from the migration guides against a new server. SomaFractalMemory's data is in
PostgreSQL, so its migration needs the URL of a server on which a database can be created. The exit status is 0 if the
counts and hashes are equal.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import psycopg

from benchmarks.embedded import texts
from benchmarks.moving import empty_database
from testing.server import ROOT, Server

START = datetime(2026, 1, 1, tzinfo=UTC)
MESSAGES = 20  # of each conversation
NAMESPACES = ("default", "notes", "a/b")
MEMORY_TYPES = ("episodic", "semantic", "belief")
# The tables of the other products, according to their source code in November 2026.
SEKHA = """
    CREATE TABLE conversations (id TEXT PRIMARY KEY, label TEXT NOT NULL, folder TEXT NOT NULL,
        created_at TEXT NOT NULL, updated_at TEXT NOT NULL, status TEXT NOT NULL DEFAULT 'active',
        importance_score INTEGER NOT NULL DEFAULT 5, word_count INTEGER NOT NULL DEFAULT 0,
        session_count INTEGER NOT NULL DEFAULT 1);
    CREATE TABLE messages (id UUID PRIMARY KEY, conversation_id UUID NOT NULL, role TEXT NOT NULL,
        content TEXT NOT NULL, timestamp TIMESTAMP NOT NULL, embedding_id TEXT, metadata JSON);
"""
SOMA_FRACTAL_MEMORY = """
    CREATE TABLE sfm_memories (id uuid PRIMARY KEY, namespace varchar(255) NOT NULL, coordinate float8[] NOT NULL,
        coordinate_key varchar(512) NOT NULL, memory_type varchar(20) NOT NULL, payload jsonb NOT NULL,
        metadata jsonb NOT NULL, tenant varchar(255) NOT NULL, importance float8 NOT NULL,
        access_count integer NOT NULL DEFAULT 0, last_accessed timestamptz, is_deleted boolean NOT NULL,
        deleted_at timestamptz, created_at timestamptz NOT NULL DEFAULT now(),
        updated_at timestamptz NOT NULL DEFAULT now());
    CREATE TABLE sfm_graph_links (id uuid PRIMARY KEY, namespace varchar(255) NOT NULL,
        from_coordinate float8[] NOT NULL, from_coordinate_key varchar(512) NOT NULL DEFAULT '',
        to_coordinate float8[] NOT NULL, to_coordinate_key varchar(512) NOT NULL DEFAULT '',
        link_type varchar(100) NOT NULL, strength float8 NOT NULL, metadata jsonb NOT NULL,
        tenant varchar(255) NOT NULL, created_at timestamptz NOT NULL DEFAULT now());
"""


class Generator:
    """Generates the same data in each run."""

    def __init__(self) -> None:
        self.random, self.texts = random.Random(7), texts(seed=7)

    def id(self) -> str:
        return str(uuid.UUID(int=self.random.getrandbits(128), version=4))

    def export_of_mem0(self, memories: int) -> list[dict[str, Any]]:
        return [
            {
                "id": self.id(),
                "memory": next(self.texts),
                "user_id": f"user {number % 50}",
                "agent_id": "guide" if number % 3 else None,
                "app_id": "travel" if number % 2 else None,
                "run_id": f"run {number % 7}" if number % 5 == 0 else None,
                "metadata": {"number": number, "nested": {"é": [0.1, None, True]}},
                "categories": ["travel", "food"][: number % 3],
                "created_at": (START + timedelta(minutes=number)).isoformat(),
            }
            for number in range(memories)
        ]

    def database_of_sekha(self, path: Path, messages: int) -> None:
        with contextlib.closing(sqlite3.connect(path)) as database:
            database.executescript(SEKHA)
            for number in range(0, messages, MESSAGES):
                id, at = self.id(), START + timedelta(hours=number)
                database.execute(
                    "INSERT INTO conversations VALUES (?, ?, ?, ?, ?, 'active', ?, 0, 1)",
                    (id, f"Talk {number}", f"/folder {number % 9}", _text(at), _text(at), number % 10 + 1),
                )
                rows = [
                    (
                        self.id(),
                        id,
                        ("user", "assistant")[turn % 2],
                        next(self.texts),
                        _text(at + timedelta(seconds=turn)),
                        json.dumps({"turn": turn}),
                    )
                    for turn in range(min(MESSAGES, messages - number))
                ]
                database.executemany("INSERT INTO messages VALUES (?, ?, ?, ?, ?, NULL, ?)", rows)
            database.commit()

    def database_of_somafractalmemory(self, url: str, memories: int) -> None:
        with psycopg.connect(url) as connection, connection.cursor() as cursor:
            cursor.execute(SOMA_FRACTAL_MEMORY.encode())
            coordinates = [[float(number // 100), number % 100 / 4] for number in range(memories)]
            cursor.executemany(
                "INSERT INTO sfm_memories (id, namespace, coordinate, coordinate_key, memory_type, payload, metadata, "
                "tenant, importance, is_deleted) VALUES (%s, %s, %s, '', %s, %s, %s, 'default', %s, false)",
                [
                    (
                        self.id(),
                        NAMESPACES[number % 3],
                        coordinate,
                        self.random.choice(MEMORY_TYPES),
                        json.dumps({"text": next(self.texts), "number": number}),
                        json.dumps({"é": [0.5, None]}),
                        number % 14 - 1.5,
                    )
                    for number, coordinate in enumerate(coordinates)
                ],
            )
            cursor.executemany(
                "INSERT INTO sfm_graph_links (id, namespace, from_coordinate, to_coordinate, link_type, strength, "
                "metadata, tenant) VALUES (%s, %s, %s, %s, 'follows', %s, %s, 'default')",
                [
                    (self.id(), NAMESPACES[number % 3], start, end, number % 15 / 10, json.dumps({"number": number}))
                    for number, (start, end) in enumerate(pairwise(coordinates[::5]))
                ],
            )


def from_mem0(folder: Path, server: Server, memories: int, database: str) -> tuple[str, str]:
    """Move the data, and return summaries of the memories that were sent and of those that were stored."""
    path = folder / "export.json"
    path.write_text(json.dumps(Generator().export_of_mem0(memories)))
    _, sent, stored = run(server, "manage.py", "import_mem0", str(path)).splitlines()
    return sent.removeprefix("sent:").strip(), stored.removeprefix("stored:").strip()


def from_sekha(folder: Path, server: Server, memories: int, database: str) -> tuple[str, str]:
    Generator().database_of_sekha(folder / "sekha.db", memories)
    (folder / "sekha.jsonl").write_text(run(server, "scripts/from_sekha.py", str(folder / "sekha.db")))
    run(server, "manage.py", "import_conversations", str(folder / "sekha.jsonl"))
    request = urllib.request.Request(
        f"http://127.0.0.1:{server.port}/api/v1/export?format=jsonl", headers={"Authorization": f"Bearer {server.key}"}
    )
    with urllib.request.urlopen(request, timeout=600) as response:
        (folder / "stored.jsonl").write_bytes(response.read())
    sent, stored = (
        run(server, "scripts/from_sekha.py", "--digest", str(folder / name)) for name in ("sekha.jsonl", "stored.jsonl")
    )
    return sent.strip(), stored.strip()


def from_somafractalmemory(folder: Path, server: Server, memories: int, database: str) -> tuple[str, str]:
    with empty_database(database) as url:
        Generator().database_of_somafractalmemory(url, memories)
        target = f"http://127.0.0.1:{server.port}"
        printed = run(server, "scripts/from_somafractalmemory.py", url, target, "--verify").splitlines()
    sent, stored = printed[-2:]
    return sent.removeprefix("sent:").strip(), stored.removeprefix("stored:").strip()


PRODUCTS: dict[str, Callable[[Path, Server, int, str], tuple[str, str]]] = {
    "mem0": from_mem0,
    "sekha": from_sekha,
    "somafractalmemory": from_somafractalmemory,
}


def run(server: Server, *words: str) -> str:
    """Run a script with the server's settings, and return its output. Raises CalledProcessError if it fails."""
    environment = {**server.environment, "SOMA_API_KEY": server.key}
    done = subprocess.run(
        [sys.executable, *words], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout


def _text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("products", nargs="*", choices=[*PRODUCTS, []], help="all by default")
    parser.add_argument("--memories", type=int, default=10_000)
    parser.add_argument("--database", default=os.environ.get("SOMA_DATABASE_URL", ""), help="postgres://…")
    options = parser.parse_args()
    products = options.products or list(PRODUCTS)
    if "somafractalmemory" in products and not options.database.startswith("postgres"):
        parser.error("--database must be the postgres://… URL of a server on which a database can be created")
    differing = 0
    for product in products:
        with tempfile.TemporaryDirectory() as name, tempfile.TemporaryDirectory() as data, Server(Path(data)) as server:
            began = time.monotonic()
            sent, stored = PRODUCTS[product](Path(name), server, options.memories, options.database)
        differing += sent != stored
        print(f"{product}, {time.monotonic() - began:.0f} s\nsent:   {sent}\nstored: {stored}")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
