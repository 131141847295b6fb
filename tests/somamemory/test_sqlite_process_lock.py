"""The lock for writers in several web processes."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from somamemory.db.sqlite.process_lock import ProcessLock
from testing.server import Server

HOLDER = """
import sys
from pathlib import Path
from somamemory.db.sqlite.process_lock import ProcessLock

assert ProcessLock(Path(sys.argv[1])).acquire(10)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "database.writer"


@pytest.fixture
def holder(path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lock."""
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_lock_can_be_acquired_again_after_its_release(path: Path) -> None:
    lock = ProcessLock(path)
    for _ in range(2):
        assert lock.acquire(0)
        lock.release()


def test_only_one_process_holds_the_lock(path: Path, holder: subprocess.Popen[str]) -> None:
    assert not ProcessLock(path).acquire(0.01)


def test_a_process_that_is_killed_releases_the_lock(path: Path, holder: subprocess.Popen[str]) -> None:
    holder.kill()
    holder.wait()

    assert ProcessLock(path).acquire(10)


@pytest.mark.server
@pytest.mark.once
def test_the_writers_of_two_web_processes_take_turns(tmp_path: Path) -> None:
    def store(number: int) -> None:
        with contextlib.closing((client := server.client()).connection):
            for at in range(20):
                client.post("/memories", {"coord": [number, at], "payload": {"text": f"memory {number} {at}"}})

    with Server(tmp_path, SOMA_WORKERS="2", SOMA_EMBEDDING_PROVIDER="hashing") as server:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(store, range(8)))
        with contextlib.closing((client := server.client()).connection):
            assert client.get("/stats")["total_memories"] == 160
        assert "database is locked" not in server.log()
