"""scripts/from_somafractalmemory.py, with tables as created by SomaFractalMemory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.conf import settings

from benchmarks import moving
from testing.processes import HOME
from testing.server import Server

pytestmark = [pytest.mark.server, pytest.mark.postgresql]

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


def move(url: str, server: Server) -> subprocess.CompletedProcess[str]:
    script = str(HOME / "scripts/from_somafractalmemory.py")
    return subprocess.run(
        [sys.executable, script, url, f"http://127.0.0.1:{server.port}", "--verify"],
        env={**os.environ, "SOMA_KEY": server.key},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def fill(url: str, rows: Sequence[tuple[Any, ...]]) -> None:
    with psycopg.connect(url) as connection:
        connection.execute(SOMA_FRACTAL_MEMORY.encode())
        for tenant, coordinate, kind, importance, deleted in rows:
            connection.execute(
                "INSERT INTO sfm_memories (id, namespace, coordinate, coordinate_key, memory_type, payload, metadata, "
                "tenant, importance, is_deleted) VALUES (%s, 'default', %s, '', %s, %s, '{}', %s, %s, %s)",
                [uuid.uuid4(), coordinate, kind, json.dumps({"text": kind}), tenant, importance, deleted],
            )
        connection.execute(
            "INSERT INTO sfm_graph_links (id, namespace, from_coordinate, to_coordinate, link_type, strength, "
            "metadata, tenant) VALUES (%s, 'default', '{1,2,3}', '{1,2,4}', 'follows', 0.5, '{}', 'default')",
            [uuid.uuid4()],
        )


def test_somafractalmemorys_memories_and_links_come_over(tmp_path: Path) -> None:
    server = Server(tmp_path, SOMA_EMBEDDING_PROVIDER="hashing")
    with moving.empty_database(settings.DATABASE_URL) as url, server:
        fill(
            url,
            [
                ("default", [1.0, 2.0, 3.0], "episodic", 5.0, False),
                ("default", [1.0, 2.0, 4.0], "belief", 12.0, False),
                ("default", [1.0, 2.0, 5.0], "semantic", 0.0, True),
                ("acme", [1.0, 2.0, 6.0], "semantic", 0.0, False),
            ],
        )
        for _ in range(2):
            done = move(url, server)
            assert done.returncode == 0, done.stderr
            memories, links, sent, stored = done.stdout.splitlines()
            assert (memories, links) == ("2 memories", "1 links")
            assert sent.removeprefix("sent:").strip() == stored.removeprefix("stored:").strip()
        client = server.client()
        items = client.get("/memories?limit=10")["items"]
        neighbours = client.get("/graph/neighbors?coord=1,2,3")["neighbors"]
        client.connection.close()

    assert [(memory["coord"], memory["memory_type"], memory["importance"]) for memory in items] == [
        ("1.0,2.0,3.0", "episodic", 5.0),
        ("1.0,2.0,4.0", "semantic", 10.0),
    ]
    was = items[1]["metadata"]["somafractalmemory"]
    assert (was["memory_type"], was["importance"]) == ("belief", 12.0)
    assert [(neighbour["coord"], neighbour["link_type"], neighbour["strength"]) for neighbour in neighbours] == [
        ("1.0,2.0,4.0", "follows", 0.5)
    ]
