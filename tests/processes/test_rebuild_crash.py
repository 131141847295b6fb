"""A rebuild on a real server under load, with a kill -9 in the middle: a small run of `benchmarks/rebuild.py`."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from testing import ROOT, template

pytestmark = [pytest.mark.server, pytest.mark.once, pytest.mark.long]


def test_a_rebuild_survives_kill_9_with_no_failed_search_and_no_lost_write() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SOMA_")}
    environment["SOMA_TEST_TEMPLATE"] = template.NAME
    result = subprocess.run(
        [sys.executable, "-m", "benchmarks.rebuild", "--memories", "1000"],
        capture_output=True,
        text=True,
        timeout=300,
        env=environment,
        cwd=ROOT,
    )
    output = result.stdout + result.stderr
    assert "killed at" in output, output
    assert "lost: 0" in output, output
    assert "Equal." in output, output
    assert result.returncode == 0, output
