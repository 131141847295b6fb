"""Restarting servers in turn behind nginx fails no request. `python -m benchmarks.rolling` does so 20 times."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.conf import settings

from benchmarks import rolling
from testing.installation import installed
from testing.processes import Installation, Process, installation, wait_for
from testing.proxies import NGINX

pytestmark = [pytest.mark.server, pytest.mark.postgresql]


@pytest.mark.skipif(not NGINX, reason="NOT CHECKED: nginx is missing (apt-get install nginx-light)")
def test_a_rolling_restart_fails_no_request(tmp_path: Path) -> None:
    with rolling.prepared(tmp_path, settings.DATABASE_URL, rate=30) as (backends, load):
        with load.running():
            for backend in backends:
                backend.restart()
        assert load.failures == []
        assert load.took_s


def test_worker_and_beat_run_by_the_commands_of_their_units(tmp_path: Path) -> None:
    tree = installed(tmp_path / "tree")
    with installation(tmp_path) as place:
        for name in ("worker", "beat"):
            process = tree.process(f"somamemory-{name}.service", more=place.environment(name))
            place.processes[name] = process
        place.processes["beat"].start()
        wait_for(place.broker_has_messages, 30)
        place.processes["worker"].start()
        wait_for(lambda: worker_answers(place, place.processes["worker"]), 60)

        assert [place.processes.pop(name).stop() for name in ("beat", "worker")] == [0, 0]


def worker_answers(place: Installation, worker: Process) -> bool:
    """The worker has processed the beat's message."""
    assert worker.running is not None
    assert worker.running.poll() is None, worker.log
    return not place.broker_has_messages()
