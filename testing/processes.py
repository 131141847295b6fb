"""Run an installation's real processes: two Redis servers, and the commands from docker-compose.yml.

Each process has its own process group. Stopping or killing a process sends the signal to the whole group.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

import psycopg
import redis
import yaml
from django.conf import settings

from somamemory.db.databases import drop
from testing import template
from testing.server import free_port

HOME = Path(__file__).resolve().parent.parent
KEY = "a-key-for-tests-that-is-long-enough-0123456789"
Value = TypeVar("Value")


def wait_for(ask: Callable[[], Value], timeout_s: float = 180, pause_s: float = 0.05) -> Value:
    """Call `ask` repeatedly until it returns a true value, and return that value. Ignores network errors."""
    deadline = time.monotonic() + timeout_s
    while True:
        answer: Any = None
        with contextlib.suppress(OSError, HTTPException):
            answer = ask()
        if answer:
            return answer  # type: ignore[no-any-return]
        assert time.monotonic() < deadline, f"no result within {timeout_s} s; the last value was {answer!r}"
        time.sleep(pause_s)


@dataclass
class Process:
    """A command that runs in its own process group and writes its output to `log_file`."""

    command: list[str]
    environment: dict[str, str]
    log_file: Path
    running: subprocess.Popen[bytes] | None = None
    folder: Path = HOME
    descriptors: tuple[int, ...] = ()  # the file descriptors that the process inherits

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def start(self) -> None:
        with self.log_file.open("ab") as log:
            self.running = subprocess.Popen(
                self.command,
                env=self.environment,
                cwd=self.folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=self.descriptors,
            )

    def send(self, how: signal.Signals) -> None:
        assert self.running is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.running.pid, how)

    def stop(self, how: signal.Signals = signal.SIGTERM, timeout_s: float = 90) -> int | None:
        """Stop the process, wait until its whole group has exited, and return its exit code.

        Return None if the process was not running.
        """
        if self.running is None:
            return None
        self.send(how)
        try:
            code = self.running.wait(timeout_s)
            wait_for(self._is_gone, timeout_s)
        finally:
            self.send(signal.SIGKILL)
            self.running = None
        return code

    def kill(self) -> None:
        self.stop(signal.SIGKILL)

    def _is_gone(self) -> bool:
        assert self.running is not None
        try:
            os.killpg(self.running.pid, 0)
        except ProcessLookupError:
            return True
        return False


class RedisServer(Process):
    """A Redis server on a free port. It does not store its data on disk."""

    def __init__(self, folder: Path, name: str = "redis") -> None:
        self.port = free_port()
        command = ["redis-server", "--bind", "127.0.0.1", "--port", str(self.port), "--save", "", "--appendonly", "no"]
        super().__init__(command, dict(os.environ), folder / f"{name}.log")
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        super().start()
        wait_for(self._answers)

    def _answers(self) -> bool:
        with socket.create_connection(("127.0.0.1", self.port), 1):
            return True


@lru_cache
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((HOME / "docker-compose.yml").read_text())
    return loaded


@dataclass
class Installation:
    """The processes in docker-compose.yml (web, worker and beat), with their own database, Redis servers and folder."""

    folder: Path
    database_url: str
    cache_url: str
    broker_url: str
    more: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    processes: dict[str, Process] = field(default_factory=dict)
    cache: RedisServer = field(init=False)
    broker: RedisServer = field(init=False)
    audit_key: dict[str, str] = field(default_factory=template.environment)

    def environment(self, service: str) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("SOMA_")}
        return inherited | {
            "DJANGO_SETTINGS_MODULE": "somamemory.settings",  # as in the image
            "HOSTNAME": socket.gethostname(),
            "SOMA_DATA_DIR": str(self.folder / "data"),
            "SOMA_SECRET_KEY": "not a secret, because it is only for tests",
            "SOMA_BOOTSTRAP_KEY": KEY,
            "SOMA_DATABASE_URL": self.database_url,
            "SOMA_REDIS_URL": self.cache_url,
            "SOMA_BROKER_URL": self.broker_url,
            "SOMA_MILVUS_TIMEOUT_S": "5",
            "SOMA_PORT": str(self.port),
            "SOMA_KEY_RATE": "0",
            "SOMA_TENANT_RATE": "0",
            "SOMA_DRAIN_INTERVAL_S": "1",
            "SOMA_ACCESS_INTERVAL_S": "1",
            "SOMA_WORKERS": "1",
            **self.audit_key,
            **self.more,
        }

    def command(self, service: str) -> list[str]:
        """Return a service's command from docker-compose.yml, for the current Python."""
        python, *rest = compose()["services"][service]["command"]
        assert python == "python"
        return [sys.executable, *rest]

    def healthcheck(self, service: str) -> list[str]:
        kind, *rest = compose()["services"][service]["healthcheck"]["test"]
        if kind == "CMD":
            return [sys.executable, *(word.replace(":9595", f":{self.port}") for word in rest[1:])]
        return ["sh", "-c", re.sub(r"^python\b", shlex.quote(sys.executable), rest[0].replace("$$", "$"))]

    def run(self, command: list[str], service: str) -> str:
        """Run a command, check that it succeeds, and return its output."""
        done = subprocess.run(
            command, env=self.environment(service), cwd=HOME, capture_output=True, text=True, timeout=180
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def rows(self, question: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.database_url) as connection:
            return connection.execute(question.encode()).fetchall()

    def broker_has_messages(self) -> bool:
        with redis.Redis.from_url(self.broker_url) as server:
            return bool(server.llen("soma"))

    def empty_broker(self) -> None:
        with redis.Redis.from_url(self.broker_url) as server:
            server.delete("soma")

    def start(self, *services: str) -> None:
        for service in services:
            process = Process(self.command(service), self.environment(service), self.folder / f"{service}.log")
            self.processes[service] = process
            process.start()
        for service in services:
            wait_for(lambda service=service: self._is_up(service), 60)  # type: ignore[misc]

    def kill(self, service: str) -> None:
        self.processes.pop(service).kill()

    def stop(self, *services: str) -> None:
        for service in services or list(self.processes):
            self.processes.pop(service).stop()

    def log(self, service: str) -> str:
        return (self.folder / f"{service}.log").read_text(errors="replace")

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()

    def get(self, path: str) -> Any:
        status, answer = self.call("GET", path)
        assert status == 200, answer
        return answer

    def store(self, coord: str, text: str, **payload: Any) -> None:
        status, answer = self.call("POST", "/memories", {"coord": coord, "payload": {"text": text, **payload}})
        assert status in (200, 201), answer

    def index_state(self, coord: str) -> str:
        state: str = self.get(f"/memories/{coord}")["memory"]["index_state"]
        return state

    def settle(self, timeout_s: float = 180) -> None:
        """Wait until the index has caught up."""
        wait_for(lambda: not self.get("/stats")["index"]["pending"], timeout_s)

    def _is_up(self, service: str) -> bool:
        process = self.processes[service]
        assert process.running is not None
        assert process.running.poll() is None, process.log[-4000:]
        if service == "web":
            return self.call("GET", "/readyz")[0] == 200
        return bool(process.running)


@contextlib.contextmanager
def installation(
    folder: Path, broker_url: str | None = None, database_url: str = "", **more: str
) -> Iterator[Installation]:
    """Create an installation with a migrated database, without starting its processes.

    The cache has its own Redis server, and so does the broker unless `broker_url` is given. The new database is on the
    same server as `database_url` or, by default, as the database in the settings. If the tests have a template, the new
    database is a copy of it.
    """
    database_url = database_url or settings.DATABASE_URL
    name = f"soma_installation_{os.getpid()}_{random.randrange(10**9)}"
    cache_server, broker = RedisServer(folder, "cache"), RedisServer(folder, "broker")
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}{template.copy_clause(database_url)}")
        url = urlunsplit(urlsplit(database_url)._replace(path=f"/{name}"))
        made = Installation(folder, url, cache_server.url, broker_url or broker.url, more)
        made.cache, made.broker = cache_server, broker
        try:
            cache_server.start()
            if broker_url is None:
                broker.start()
            made.run(made.command("migrate"), "migrate")
            yield made
        finally:
            for process in [*made.processes.values(), cache_server, broker]:
                process.kill()
            drop(connection.execute, name)


def broker_of_the_leg() -> str | None:
    """Empty this test process's own database on the broker that scripts/test.sh has started, and return its URL.

    If there is no such broker, return None.
    """
    if not (url := os.environ.get("SOMA_TEST_BROKER_URL")):
        return None
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 16
    mine = f"{url.rpartition('/')[0]}/{number}"
    with redis.Redis.from_url(mine) as server:
        server.flushdb()
    return mine
