"""scripts/from_somafractalmemory.py, with tables as created by SomaFractalMemory."""

from __future__ import annotations

import json
import os
import re
import runpy
import subprocess
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.conf import settings

from benchmarks import migrations, moving
from benchmarks.migrations import SOMA_FRACTAL_MEMORY
from testing.processes import HOME
from testing.server import Server

pytestmark = [pytest.mark.server, pytest.mark.postgresql]

PAGE = HOME / "docs" / "how-to" / "migrating-from-somafractalmemory.md"


def move(url: str, server: Server) -> subprocess.CompletedProcess[str]:
    script = str(HOME / "scripts/from_somafractalmemory.py")
    return subprocess.run(
        [sys.executable, script, url, f"http://127.0.0.1:{server.port}", "--verify"],
        env={**os.environ, "SOMA_API_KEY": server.key},
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


def test_the_command_of_the_page_moves_every_memory_and_link(tmp_path: Path) -> None:
    [block] = re.findall(r"runs this block on one -->\n```sh\n(.*?)```", PAGE.read_text(), re.DOTALL)
    with moving.empty_database(settings.DATABASE_URL) as url, Server(tmp_path) as server:
        migrations.Generator().database_of_somafractalmemory(url, 90)
        script = block.replace("postgres://user:password@host/somafractalmemory", url)
        script = script.replace("127.0.0.1:9595", f"127.0.0.1:{server.port}").replace(".venv/bin/python", "python")
        script = script.replace("--tenant sfm", "--tenant default")
        environment = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "SFM_KEY": server.key}
        done = subprocess.run(
            ["bash", "-euc", script],
            cwd=HOME, env=environment, capture_output=True, text=True, timeout=180, check=False,
        )  # fmt: skip

    assert done.returncode == 0, done.stderr
    *_, sent, stored = done.stdout.splitlines()
    assert sent.startswith("sent:   90 memories, 17 links, hash ")
    assert sent.removeprefix("sent:   ") == stored.removeprefix("stored: ")


def test_the_hash_depends_on_the_content_of_links() -> None:
    link = {"namespace": "n", "from_coord": "1,2", "to_coord": [3.0], "link_type": "x", "strength": 0.5, "metadata": {}}
    new_digest = runpy.run_path(str(HOME / "scripts" / "from_somafractalmemory.py"))["Digest"]
    digests = [new_digest() for _ in range(3)]
    digests[0].add_link(link)
    digests[1].add_link({**link, "from_coord": [1, 2.0], "to_coord": "3.0"})
    digests[2].add_link({**link, "strength": 0.25})

    assert str(digests[0]) == str(digests[1])
    assert str(digests[0]) != str(digests[2])
