"""deploy/gunicorn.conf.py: coordination between processes."""

from __future__ import annotations

import contextlib
import resource
import subprocess
import sys
from http.client import HTTPException
from pathlib import Path

import pytest
from django.conf import settings

from testing.processes import wait_for
from testing.server import Server, free_port

pytestmark = [pytest.mark.server, pytest.mark.once]

# Long enough for all processes to wait for the lock of the first.
_SIX_PROCESSES = """
import os, runpy, signal, sys, time
once = runpy.run_path("deploy/gunicorn.conf.py")["once"]

def banner():
    if sys.argv[1] == "killed" and number == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.5)
    os.write(1, b"ready\\n")

children = []
for number in range(6):
    if child := os.fork():
        children.append(child)
        continue
    once("banner", banner)
    os._exit(0)
for child in children:
    os.waitpid(child, 0)
"""

_LIMIT = """
import resource, runpy
runpy.run_path("deploy/gunicorn.conf.py")
print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


@pytest.mark.parametrize("first", ["alive", "killed"])
def test_processes_that_start_together_print_one_banner(first: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _SIX_PROCESSES, first],
        cwd=settings.BASE_DIR,
        check=True,
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.stdout == "ready\n"


def test_the_server_raises_its_limit_of_open_files() -> None:
    """Otherwise, 256 idle clients could use up all of the server's files on systems with a low default."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    done = subprocess.run(
        ["sh", "-c", 'ulimit -S -n 256 && exec "$0" -c "$1"', sys.executable, _LIMIT],
        cwd=settings.BASE_DIR,
        check=True,
        capture_output=True,
        text=True,
        timeout=180,
    )

    assert int(done.stdout) == (4096 if hard < 0 else min(hard, 4096))


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="the system has no folder for shared memory")
def test_metrics_need_no_space_on_the_disk(tmp_path: Path) -> None:
    """They are in mapped files, and writing to one on a full disk would end the process with SIGBUS."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()

    with Server(tmp_path, TMPDIR=str(temporary)) as server:
        assert server.pids()
        assert list(temporary.iterdir()) == []


def test_a_server_starts_while_the_embedding_provider_is_away(tmp_path: Path) -> None:
    away = {
        "SOMA_EMBEDDING_PROVIDER": "openai",
        "SOMA_EMBEDDING_MODEL": "any",
        "SOMA_EMBEDDING_DIMENSION": "8",
        "SOMA_EMBEDDING_BASE_URL": f"http://127.0.0.1:{free_port()}",
    }
    with Server(tmp_path, **away) as server:
        client = server.client()
        with contextlib.closing(client.connection):
            client.post("/memories", {"coord": [1], "payload": {"text": "a castle"}})
            found = client.post("/memories/search", {"query": "castle"})
    assert [hit["coord"] for hit in found["memories"]] == ["1.0"]
    assert found["degraded"] == ["semantic"]


def test_a_process_starts_while_the_database_is_away(tmp_path: Path) -> None:
    away = f"postgresql://soma@127.0.0.1:{free_port()}/soma"
    server = Server(tmp_path, SOMA_DATABASE_URL=away, SOMA_EMBEDDING_PROVIDER="hashing")
    command = [sys.executable, "-m", "gunicorn", "--config", "deploy/gunicorn.conf.py", "somamemory.wsgi:application"]
    with (tmp_path / "server.log").open("wb") as log:
        process = server.process = subprocess.Popen(
            command, cwd=settings.BASE_DIR, env=server.environment, stdout=log, stderr=log, start_new_session=True
        )

    def readiness() -> int | None:
        with contextlib.suppress(OSError, HTTPException):
            client = server.client(timeout_s=10)
            with contextlib.closing(client.connection):
                return client.call("GET", "/readyz")[0]
        return None

    try:
        wait_for(lambda: process.poll() is not None or readiness() is not None, timeout_s=60)
        assert readiness() == 503, server.log()
    finally:
        server.kill()
