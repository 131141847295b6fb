"""The metrics of three gunicorn workers, and of one that replaces a killed worker, add up to the requests sent."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import threading
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

from testing.processes import Installation, broker_of_the_leg, installation, wait_for

pytestmark = [pytest.mark.server, pytest.mark.postgresql, pytest.mark.django_db(transaction=True)]

WORKERS = 3


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Installation]:
    more = {"SOMA_WORKERS": str(WORKERS), "SOMA_THREADS": "2", "SOMA_METRICS_ALLOW": "127.0.0.1"}
    with installation(tmp_path, broker_of_the_leg(), **more) as made:
        made.start("web")
        yield made


def send(web: Installation, count: int) -> set[str]:
    """Send this many requests over separate connections, so that every worker gets some. Return their statuses."""
    seen: set[str] = set()

    def ask() -> None:
        for _ in range(count // 8):
            connection = HTTPConnection("127.0.0.1", web.port, timeout=60)
            connection.request("GET", "/ping")
            seen.add(str(connection.getresponse().status))
            connection.close()

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return seen


def counted(web: Installation) -> float:
    connection = HTTPConnection("127.0.0.1", web.port, timeout=60)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    found = re.findall(r'^soma_http_requests_total\{.*route="api/v1/ping".*\} ([0-9.e+]+)$', text, re.MULTILINE)
    return sum(map(float, found))


def workers(web: Installation) -> list[int]:
    """Return gunicorn's child processes."""
    running = web.processes["web"].running
    assert running is not None
    children = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text()
    return [int(pid) for pid in children.split()]


def test_metrics_of_all_workers_add_up_also_across_a_restart(web: Installation) -> None:
    wait_for(lambda: len(workers(web)) == WORKERS)
    assert send(web, 80) == {"200"}
    assert {counted(web) for _ in range(6)} == {80}

    victim = workers(web)[0]
    with contextlib.suppress(ProcessLookupError):
        os.kill(victim, signal.SIGKILL)
    wait_for(lambda: victim not in workers(web) and len(workers(web)) == WORKERS)
    assert send(web, 80) == {"200"}

    assert {counted(web) for _ in range(6)} == {160}
