"""Kill every component of an installation in turn while clients write. `make chaos` runs the full test.

Runs in the last stage of `make test`, if SOMA_TEST_DATABASE_URL is a PostgreSQL server that allows creating databases
and scripts/test-milvus.sh has installed a Milvus server. The test starts all other processes itself.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks import chaos
from testing import milvus_server

DATABASE = os.environ.get("SOMA_TEST_DATABASE_URL", "")
pytestmark = [
    pytest.mark.server,
    pytest.mark.skipif(
        not (DATABASE and milvus_server.PYTHON.exists()), reason="needs SOMA_TEST_DATABASE_URL and a Milvus server"
    ),
]


def test_a_kill_of_each_server_in_turn_loses_nothing_and_the_index_equals_the_database(tmp_path: Path) -> None:
    with chaos.prepared(tmp_path, DATABASE, writes=400, clients=4, down_s=1.5) as attack:
        # Milvus first: it takes half a minute to recover, and the others need not wait for that.
        attack.run(attack.parts()[::-1])
        attack.print_report()
        print(attack.place.log("worker")[-4000:])  # shown if an assertion below fails
        assert len(attack.turns) == 7
        assert attack.progress.acknowledged == 400
        assert attack.progress.refused.keys() <= {409, 429, 503}
        assert attack.wrong() == []
