"""The real server, killed during its work: acknowledged writes are not lost, and the index converges.

On PostgreSQL, the server uses its own database; everything else is the same.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import pytest

from memories.index import immediate
from testing import ROOT, template
from testing.forked_server import ForkedServers
from testing.processes import wait_for
from testing.server import free_port
from tests.support.databases import own_database

pytestmark = [pytest.mark.server, pytest.mark.long]

KEY = "a-key-for-tests-that-is-long-enough-0123456789"
KILLS = int(os.environ.get("SOMA_TEST_KILLS", "20"))
WRITERS = 4
START_S = 180.0  # on a busy machine; a start takes 2 s

Json = dict[str, Any]


@dataclass
class Server:
    """`manage.py serve` with its own process group and data folder."""

    folder: Path
    database_url: str = ""
    port: int = field(default_factory=free_port)
    group: int | None = None  # of the running processes
    wait_for_exit: Callable[[float], int] = field(init=False)
    forked: ForkedServers | None = None

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("SOMA_", "DJANGO_"))}
        temporary = self.folder / "tmp"
        temporary.mkdir(exist_ok=True)
        return {
            **kept,
            "SOMA_DATA_DIR": str(self.folder / "data"),
            "SOMA_DATABASE_URL": self.database_url,
            "SOMA_BOOTSTRAP_KEY": KEY,
            "SOMA_SECRET_KEY": "not a secret, because it is only for tests",
            "SOMA_PORT": str(self.port),
            "SOMA_LOG_LEVEL": "WARNING",
            "SOMA_KEY_RATE": "0",  # as fast as possible
            "SOMA_TENANT_RATE": "0",
            "TMPDIR": str(temporary),
        }

    @property
    def log(self) -> str:
        return (self.folder / "server.log").read_text()

    def start(self) -> None:
        with (self.folder / "server.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, str(ROOT / "manage.py"), "serve"],
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.group, self.wait_for_exit = process.pid, process.wait
        self._wait_until_ready(lambda: process.poll() is None)

    def start_forked(self) -> None:
        """Start the server without migrations, from a process that has loaded the application once."""
        if self.forked is None:
            self.forked = ForkedServers(self.environment, self.folder / "server.log")
        group, self.wait_for_exit = self.forked.start(), self.forked.wait
        self.group = group
        self._wait_until_ready(lambda: exists(group))

    def _wait_until_ready(self, is_running: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_S
        while (answer := self._readiness()) != {"ready": True}:
            assert is_running(), self.log[-4000:]
            assert time.monotonic() < deadline, f"{answer}\n{self.log[-4000:]}"
            time.sleep(0.03)

    def _readiness(self) -> object:
        try:
            return self.call("GET", "/readyz")[1]
        except (OSError, HTTPException) as error:
            return error

    def send(self, signal_: signal.Signals) -> None:
        """Send the signal to every process in the group, as a terminal or a failing machine would."""
        assert self.group is not None
        os.killpg(self.group, signal_)

    def wait(self, timeout_s: float) -> int:
        """Return the exit code when every process in the group has exited."""
        assert self.group is not None
        code = self.wait_for_exit(timeout_s)
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            try:
                os.killpg(self.group, 0)
            except ProcessLookupError:
                self.group = None
                return code
            time.sleep(0.02)
        raise TimeoutError("processes of the server are left")

    def kill(self) -> None:
        self.send(signal.SIGKILL)
        self.wait(60)

    def stop(self) -> int:
        self.send(signal.SIGINT)
        return self.wait(60)

    def close(self) -> None:
        if self.group is not None:
            self.kill()
        if self.forked is not None:
            self.forked.close()

    def call(self, method: str, path: str, body: Json | None = None) -> tuple[int, Json]:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()

    def settle(self, timeout_s: float = 180) -> None:
        """Wait until the index has caught up.

        The rows of a new memory become pending only after a short delay, because the process that stored it usually
        settles them first. If that process was killed, the rows become pending.
        """
        time.sleep(immediate.GRACE.total_seconds())
        deadline = time.monotonic() + timeout_s
        while self.call("GET", "/stats")[1]["index"]["pending"]:
            assert time.monotonic() < deadline, "the index did not catch up"
            time.sleep(0.05)

    def run(self, code: str) -> Any:
        """Run Python code with the server's settings while the server is stopped. Returns the JSON that it prints."""
        done = subprocess.run(
            [sys.executable, "-c", f"import django; django.setup()\n{code}"],
            env={**self.environment, "DJANGO_SETTINGS_MODULE": "somamemory.settings", "PYTHONPATH": str(ROOT)},
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])


def exists(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server for the tests in this file, first started with `manage.py serve`."""
    with template.unused(), own_database() as url:
        made = Server(tmp_path_factory.mktemp("server"), url)
        made.start()
        yield made
        made.close()


@pytest.fixture
def server(migrated: Server) -> Server:
    """A running server, which may contain memories from other tests."""
    if migrated.group is None:
        migrated.start_forked()
    return migrated


@dataclass
class Writer:
    """A client with its own addresses. It records the acknowledged and the uncertain writes."""

    server: Server
    number: int
    # coordinate → the payload's number, or None for deleted
    acknowledged: dict[str, int | None] = field(default_factory=dict)
    uncertain: dict[str, int | None] = field(default_factory=dict)
    writes: int = 0
    deletes: int = 0
    refused: list[tuple[int, Json]] = field(default_factory=list)

    def work(self, running: threading.Event) -> None:
        dice = random.Random(f"{self.number} {self.writes}")
        while running.is_set():
            coord = f"{self.number}.0,{dice.randrange(40)}.0"
            remove = dice.random() < 0.3
            wanted = None if remove else self.writes + 1
            self.uncertain[coord] = wanted
            try:
                if remove:
                    purge = "?purge=true" if dice.random() < 0.3 else ""
                    status, answer = self.server.call("DELETE", f"/memories/{coord}{purge}")
                else:
                    text = f"turtle number{wanted} of writer{self.number}"
                    body = {"coord": coord, "payload": {"text": text, "number": wanted}}
                    status, answer = self.server.call("POST", "/memories", body)
            except (OSError, HTTPException, ValueError):
                return  # killed, so the outcome is unknown
            if status >= 400:
                self.refused.append((status, answer))
                return
            del self.uncertain[coord]
            self.acknowledged[coord] = wanted
            self.writes += not remove
            self.deletes += remove

    def resolve(self) -> None:
        """After a restart, check that each unacknowledged write took effect either completely or not at all."""
        for coord, wanted in self.uncertain.items():
            found = self._number_at(coord)
            assert found in (wanted, self.acknowledged.get(coord)), f"{coord} has neither the old nor the new state"
            self.acknowledged[coord] = found
        self.uncertain.clear()

    def check(self) -> None:
        for coord, wanted in self.acknowledged.items():
            assert self._number_at(coord) == wanted, f"{coord}: an acknowledged change is lost"

    def _number_at(self, coord: str) -> int | None:
        status, answer = self.server.call("GET", f"/memories/{coord}")
        assert status in (200, 404), answer
        return answer["memory"]["payload"]["number"] if status == 200 else None


DIFFERENCE = """
import json
from collections import Counter
from memories import index
from memories.index import generations
from memories.models import Memory, VectorEmbedding
from tenants.models import Tenant
tenant = Tenant.objects.get(slug="default")
held = {str(id): version for id, version in index.of(generations.active()).scan(tenant.id)}
index.close_all()
memories = {str(memory.id): memory for memory in Memory.all_tenants.filter(deleted_at=None)}
live = {id: memory.version for id, memory in memories.items()}
print(json.dumps({
    "only in the index": sorted(held.keys() - live.keys()),
    "only in the database": sorted(live.keys() - held.keys()),
    "in another version": sorted(id for id in held.keys() & live.keys() if held[id] != live[id]),
    "held": Counter(memories[id].coordinate.text.partition(",")[0] for id in held.keys() & live.keys()),
    "due": VectorEmbedding.all_tenants.exclude(due_at=None).count(),
}))
"""


def writes_of(writers: list[Writer]) -> int:
    return sum(writer.writes for writer in writers)


def wait_for_writes(writers: list[Writer], number: int) -> None:
    """Wait until the writers have made this many writes. The kill -9 then happens at a random point in their work."""
    deadline = time.monotonic() + START_S
    while writes_of(writers) < number:
        assert time.monotonic() < deadline, "the writers make no progress"
        time.sleep(0.005)


def found_by(server: Server, mode: str, writer: int) -> set[str]:
    query = {"query": f"turtle writer{writer}", "mode": mode, "top_k": 200, "prefix": f"{writer}"}
    status, answer = server.call("POST", "/memories/search", query)
    assert status == 200, answer
    assert answer["degraded"] == []
    return {memory["coord"] for memory in answer["memories"]}


def test_kills_lose_nothing_and_the_index_converges(server: Server) -> None:
    writers = [Writer(server, number) for number in range(1, WRITERS + 1)]
    dice = random.Random(4)
    for number in range(KILLS):
        running = threading.Event()
        running.set()
        threads = [threading.Thread(target=writer.work, args=[running]) for writer in writers]
        for thread in threads:
            thread.start()
        wait_for_writes(writers, writes_of(writers) + dice.randrange(10, 60))
        server.kill()
        running.clear()
        for thread in threads:
            thread.join(60)
        if number:
            server.start_forked()
        else:
            server.start()  # with checks and migrations
        for writer in writers:
            writer.resolve()
    server.settle()
    assert [refused for writer in writers for refused in writer.refused] == []
    for writer in writers:
        writer.check()
        live = {coord for coord, wanted in writer.acknowledged.items() if wanted is not None}
        for mode in ("hybrid", "keyword", "semantic"):
            assert found_by(server, mode, writer.number) == live
    assert server.stop() == 0
    difference = server.run(DIFFERENCE)
    held = difference.pop("held")
    assert difference == {
        "only in the index": [],
        "only in the database": [],
        "in another version": [],
        "due": 0,
    }
    for writer in writers:
        stored = [wanted for wanted in writer.acknowledged.values() if wanted is not None]
        assert held[f"{writer.number}.0"] == len(stored)
    deletes = sum(writer.deletes for writer in writers)
    print(f"{KILLS} kills, {writes_of(writers)} writes, {deletes} deletes")


def test_a_deleted_index_is_rebuilt_from_the_database(server: Server) -> None:
    for at in range(5):
        server.call("POST", "/memories", {"coord": f"9,{at}", "payload": {"text": f"turtle writer9 {at}"}})
    server.settle()
    server.stop()
    shutil.rmtree(server.folder / "data" / "vectors")
    server.start_forked()
    wait_for(lambda: len(found_by(server, "semantic", 9)) == 5)
    server.settle()
    server.stop()
    difference = server.run(DIFFERENCE)
    assert difference["held"]["9.0"] == 5
    assert [difference[kind] for kind in ("only in the index", "only in the database", "in another version")] == [
        []
    ] * 3


def test_ctrl_c_ends_the_server_at_once_and_cleanly(server: Server) -> None:
    begin = len(server.log)
    idle = HTTPConnection("127.0.0.1", server.port, timeout=60)
    idle.request("GET", "/ping")
    idle.getresponse().read()  # a client that keeps its connection must not hold the server up
    server.call("POST", "/memories", {"coord": "10", "payload": {"text": "turtle"}})
    assert server.stop() == 0
    idle.close()
    log = server.log[begin:]
    assert "SIGKILL" not in log, log  # it stopped within its time limit
    assert "Traceback" not in log, log


def test_a_second_start_keeps_the_key_and_the_memories(server: Server) -> None:
    server.call("POST", "/memories", {"coord": "11", "payload": {"text": "turtle"}})
    server.stop()
    server.start()
    assert server.call("GET", "/memories/11")[0] == 200


def test_settings_whose_vectors_would_not_fit_stop_the_start_with_a_reason(server: Server) -> None:
    server.stop()
    other = {"SOMA_EMBEDDING_PROVIDER": "openai", "SOMA_EMBEDDING_MODEL": "tiny", "SOMA_EMBEDDING_DIMENSION": "8"}
    done = subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), "serve"],
        env={**server.environment, **other, "SOMA_EMBEDDING_BASE_URL": "http://127.0.0.1:9/v1"},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode not in (0, -signal.SIGKILL)
    assert "SOMA_EMBEDDING_PROVIDER" in done.stderr
    assert "Traceback" not in done.stderr
