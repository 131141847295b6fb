"""Web processes are replaced after a number of requests (`SOMA_MAX_REQUESTS`)."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from testing.processes import wait_for
from testing.server import Server

pytestmark = [pytest.mark.server, pytest.mark.once]


def test_a_process_is_replaced_and_no_request_fails(tmp_path: Path) -> None:
    with Server(tmp_path, SOMA_MAX_REQUESTS="20", SOMA_EMBEDDING_PROVIDER="hashing") as server:
        assert server.process is not None
        first = children(server.process.pid)
        for number in range(60):
            client = server.client()
            with contextlib.closing(client.connection):
                client.post("/memories", {"coord": [1, number], "payload": {"text": f"number {number}"}})
        wait_for(lambda: (now := children(server.process.pid)) and now != first)  # type: ignore[union-attr]
        client = server.client()
        with contextlib.closing(client.connection):
            assert client.get("/memories/1,59")["memory"]["payload"] == {"text": "number 59"}


def children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
