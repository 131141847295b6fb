"""scripts/from_sekha.py, with tables as created by Sekha."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from benchmarks.migrations import SEKHA
from testing.processes import HOME
from testing.server import Server

pytestmark = [pytest.mark.server, pytest.mark.once]

CONVERSATION = str(uuid.UUID(int=7))


def read(path: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(HOME / "scripts/from_sekha.py"), str(path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)


def sekha(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.executescript(SEKHA)
        database.execute(
            "INSERT INTO conversations VALUES (?, 'Trip', '/private', '2026-01-09 16:30:00', '2026-01-09 16:31:00', "
            "'pinned', 10, 4, 1)",
            (CONVERSATION,),
        )
        for number, (role, content, metadata) in enumerate(
            [("user", "Where shall we go?", None), ("assistant", "To the sea. 🌊", '{"model": "llama"}')]
        ):
            database.execute(
                "INSERT INTO messages VALUES (?, ?, ?, ?, ?, NULL, ?)",
                (str(uuid.uuid4()), CONVERSATION, role, content, f"2026-01-09 16:30:0{number}.5", metadata),
            )


def test_sekhas_conversations_come_over_with_label_folder_status_and_times(tmp_path: Path) -> None:
    sekha(tmp_path / "sekha.db")
    written = read(tmp_path / "sekha.db")
    assert written.returncode == 0, written.stderr
    (tmp_path / "sekha.jsonl").write_text(written.stdout)
    (tmp_path / "data").mkdir()

    with Server(tmp_path / "data", SOMA_EMBEDDING_PROVIDER="hashing") as server:
        command = [sys.executable, str(HOME / "manage.py"), "import_conversations", str(tmp_path / "sekha.jsonl")]
        for _ in range(2):  # the second time changes nothing
            done = subprocess.run(command, env=server.environment, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
        client = server.client()
        page = client.get("/api/v1/conversations")
        assert page["total"] == 1
        found = page["results"][0]
        messages = client.get(f"/api/v1/conversations/{found['id']}/messages")["items"]
        client.connection.close()

    assert (found["label"], found["folder"], found["status"], found["importance_score"]) == (
        "Trip", "/private", "pinned", 10
    )  # fmt: skip
    assert [(message["role"], message["content"], message["timestamp"][:21]) for message in messages] == [
        ("user", "Where shall we go?", "2026-01-09T16:30:00.5"),
        ("assistant", "To the sea. 🌊", "2026-01-09T16:30:01.5"),
    ]
    assert messages[1]["metadata"]["model"] == "llama"


def test_a_file_that_is_not_a_sekha_database_is_reported_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "other.db").write_text("no database")
    done = read(tmp_path / "other.db")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1
