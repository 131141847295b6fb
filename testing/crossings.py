"""Run work that reaches failpoints, in forked processes: `python -m testing.crossings`, or `Crossings` in a test.

The server process loads Django once and opens no connection. It reads one JSON order per line, forks a child process to
run it, and writes the outcome. A crash test therefore costs only a fork, not the start of a program. Each scenario
has three parts: `prepare`, `act` (reaches the failpoints) and `check` (finishes the work as a restart would, then
asserts the invariants).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from testing import template

if TYPE_CHECKING:
    from testing.crossings_scenarios import Scenario

ROOT = Path(__file__).resolve().parent.parent
KILLED = -9


class Crossings:
    """Starts the server process, and sends orders to it.

    data: an empty folder.
    database_url: the URL of an empty database, or "" for SQLite.
    """

    def __init__(self, data: Path, database_url: str, redis_url: str = "") -> None:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("SOMA_")}
        environment = inherited | {
            "DJANGO_SETTINGS_MODULE": "somamemory.settings",
            "SOMA_DATA_DIR": str(data),
            "SOMA_DATABASE_URL": database_url,
            "SOMA_REDIS_URL": redis_url,
            "SOMA_SECRET_KEY": "for tests only, and long enough to be accepted by the checks",
            "SOMA_COLD_STORAGE": str(data / "cold"),
            "SOMA_EMBEDDING_PROVIDER": "hashing",
            "SOMA_INDEXER": "none",
            "SOMA_LOG_LEVEL": "ERROR",
            **template.environment(),
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "testing.crossings"],
            env=environment, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(self, scenario: str, part: str, slug: str, plan: dict[str, str] | None = None) -> dict[str, Any]:
        """Run one part of a scenario in a child process, and return `{"status", "error", "reached"}`.

        status: the child process's exit code, which is -9 if the process was killed.
        error: the error that the part raised, or "".
        reached: the failpoints that it reached.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        order = {"scenario": scenario, "part": part, "slug": slug, "plan": plan or {}}
        print(json.dumps(order), file=self._process.stdin, flush=True)
        outcome: dict[str, Any] = json.loads(self._process.stdout.readline())
        return outcome

    def close(self) -> None:
        self._process.communicate(timeout=60)


@contextmanager
def crossings(data: Path, database_url: str, redis_url: str = "") -> Iterator[Crossings]:
    running = Crossings(data, database_url, redis_url)
    try:
        yield running
    finally:
        running.close()


def serve() -> None:
    import django

    django.setup()
    # Everything that a child needs is imported once, before the fork.
    import api.app  # noqa: F401
    from testing import crossings_scenarios

    for line in sys.stdin:
        order = json.loads(line)
        with tempfile.TemporaryFile("w+") as report:
            child = os.fork()
            if child == 0:
                _run(order, report, crossings_scenarios.SCENARIOS[order["scenario"]])
            _, status = os.waitpid(child, 0)
            report.seek(0)
            text = report.read()
        outcome = json.loads(text) if text else {"error": "", "reached": []}
        print(json.dumps({**outcome, "status": os.waitstatus_to_exitcode(status)}), flush=True)


def _run(order: dict[str, Any], report: Any, make: Callable[[str], Scenario]) -> None:
    """Run one part of a scenario in the child process, write its outcome, and exit without cleaning up."""
    from somamemory import failpoints
    from somamemory.errors import Unavailable

    os.dup2(2, 1)  # the standard output is reserved for outcomes
    plan = failpoints.Plan(order["plan"])
    failpoints.reach = plan.reach
    error = ""
    try:
        getattr(make(order["slug"]), order["part"])()
    except Unavailable as unavailable:  # the error that a failpoint raised, or an error that was raised because of it
        error = str(unavailable)
    except BaseException:  # noqa: BLE001 - the test reports it
        error = traceback.format_exc()
    json.dump({"error": error, "reached": plan.reached}, report)
    report.flush()
    os._exit(0)


if __name__ == "__main__":
    serve()
