"""`python -m benchmarks.migrations` moves generated data; test_from_somafractalmemory.py covers the third product."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks import migrations
from testing.server import Server

pytestmark = [pytest.mark.server, pytest.mark.once]


@pytest.mark.parametrize(
    ("product", "counts"), [("mem0", "45 memories, "), ("sekha", "3 conversations, 45 messages, ")]
)
def test_a_move_keeps_the_counts_and_the_hash(product: str, counts: str, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with Server(tmp_path / "data") as server:
        sent, stored = migrations.PRODUCTS[product](tmp_path, server, 45, "")

    assert re.fullmatch(counts + "hash [0-9a-f]{64}", sent)
    assert stored == sent
