"""Start servers by forking a process that has already loaded the application: `python -m testing.forked_server`.

Starting a server then takes a tenth of the CPU time that `manage.py serve` takes. The process never serves requests
itself. For each line that it reads, it forks a child process, which runs gunicorn in its own process group. It writes
the id of the child process and, when the child process has exited, its exit code.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import tempfile
from pathlib import Path

from testing import ROOT

COMMAND = ["gunicorn", "--config", str(ROOT / "deploy" / "gunicorn.conf.py"), "somamemory.wsgi:application"]


class ForkedServers:
    """Starts servers by forking a process that has loaded the application.

    Call `wait` after each `start`, before starting the next server.
    """

    def __init__(self, environment: dict[str, str], log: Path) -> None:
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "testing.forked_server"],
                env=environment, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=output, text=True,
            )  # fmt: skip

    def start(self) -> int:
        """Start a server, and return its process id, which is also its process group id."""
        assert self._process.stdin is not None
        print("start", file=self._process.stdin, flush=True)
        return self._read()

    def wait(self, timeout_s: float) -> int:
        """Wait until the server has exited, and return its exit code, which is negative if a signal has ended it."""
        assert self._process.stdout is not None
        ended, _, _ = select.select([self._process.stdout], [], [], timeout_s)
        assert ended, "the server is still running"
        return self._read()

    def close(self) -> None:
        self._process.communicate(timeout=60)

    def _read(self) -> int:
        assert self._process.stdout is not None
        return int(self._process.stdout.readline())


def serve() -> None:
    with tempfile.TemporaryDirectory() as folder:
        # When prometheus_client is imported, it decides whether processes share their metrics, so the variable must be
        # set before the import. gunicorn.conf.py sets each server's actual folder.
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        _load()
        for _ in sys.stdin:
            child = os.fork()
            if child == 0:
                _run()
            print(child, flush=True)
            _, status = os.waitpid(child, 0)
            print(os.waitstatus_to_exitcode(status), flush=True)


def _load() -> None:
    """Import what a server needs, and create the embedder, without opening a connection or starting a thread."""
    import gunicorn.app.wsgiapp
    import gunicorn.arbiter  # noqa: F401

    import somamemory.wsgi  # noqa: F401
    from memories.embeddings import current

    current()


def _run() -> None:
    """Run a server in this process, and exit with its exit code."""
    from gunicorn.app.wsgiapp import run

    os.setsid()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)  # the standard output is reserved for ids and exit codes
    sys.argv = COMMAND
    try:
        run()
    except SystemExit as end:
        os._exit(end.code if isinstance(end.code, int) else 1)


if __name__ == "__main__":
    serve()
