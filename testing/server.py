"""Run a real server in its own folder, for benchmarks, the demo and the crash test."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import pathlib
import random
import secrets
import signal
import socket
import subprocess
import sys
import time
from typing import Any

from testing import template

ROOT = pathlib.Path(__file__).resolve().parent.parent
START_TIMEOUT_S = 180  # enough for a busy machine; startup usually takes 3 s


class Server:
    """Runs `manage.py serve` on a free local port, in its own process group."""

    root = ROOT  # the checkout from which to run the server
    python = sys.executable

    def __init__(self, data_dir: pathlib.Path, **settings: str) -> None:
        self.data_dir = data_dir
        self.port = free_port()
        self.key = secrets.token_urlsafe(32)
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("SOMA_")}
        self.environment = inherited | {
            "SOMA_DATA_DIR": str(data_dir),
            "SOMA_PORT": str(self.port),
            "SOMA_BOOTSTRAP_KEY": self.key,
            "SOMA_SECRET_KEY": secrets.token_urlsafe(50),  # PostgreSQL requires a secret key
            "SOMA_KEY_RATE": "0",
            "SOMA_TENANT_RATE": "0",
            **template.environment(),
            **settings,
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> float:
        """Start the server, wait until it responds, and return how many seconds that took."""
        began = time.monotonic()
        database = self.data_dir / "somamemory.sqlite3"
        if not (self.environment.get("SOMA_DATABASE_URL") or database.exists()):
            template.copy_sqlite(database)
        with (self.data_dir / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [self.python, str(self.root / "manage.py"), "serve"],
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        while time.monotonic() - began < START_TIMEOUT_S:
            if self.process.poll() is not None:
                raise RuntimeError(f"the server exited immediately:\n{self.log()}")
            with contextlib.suppress(OSError, http.client.HTTPException):
                client = self.client(timeout_s=5)
                with contextlib.closing(client.connection):
                    if client.call("GET", "/readyz")[0] == 200:
                        return time.monotonic() - began
            time.sleep(0.05)
        raise RuntimeError(f"the server did not respond within {START_TIMEOUT_S} s:\n{self.log()}")

    def client(self, timeout_s: float = 60, tenant: str = "default") -> Client:
        return Client(self.port, self.key, tenant, timeout_s)

    def stop(self, how: int = signal.SIGINT) -> int:
        """Send a signal to the whole process group, wait until the server has exited, and return its exit code."""
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, how)
        return self.process.wait(90)

    def kill(self) -> None:
        self.stop(signal.SIGKILL)

    def log(self) -> str:
        return (self.data_dir / "server.log").read_text(errors="replace")

    def cpu_s(self) -> float:
        """Return the CPU time that the server's processes have used so far, in seconds. Works only on Linux."""
        assert self.process is not None
        ticks = 0
        for folder in pathlib.Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                if int(fields[2]) == self.process.pid:  # the third field is the process group
                    ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def rss_mb(self) -> float:
        """Return the resident memory of the server's processes in MiB, counting shared memory once. Linux only."""
        return self._memory_mb("Pss")

    def own_mb(self) -> float:
        """Return the memory in `rss_mb` without mapped files, whose pages the system can drop at any time."""
        return self._memory_mb("Pss_Anon")

    def _memory_mb(self, name: str) -> float:
        kib = 0
        for pid in self.pids():
            with contextlib.suppress(OSError):
                rollup = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
                kib += sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith(f"{name}:"))
        return kib / 1024

    def pids(self) -> list[int]:
        """Return the server's process ids. Works only on Linux."""
        assert self.process is not None
        found = []
        for folder in pathlib.Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if os.getpgid(int(folder.name)) == self.process.pid:
                    found.append(int(folder.name))
        return found

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self.process and self.process.poll() is None:
            self.stop()


class Client:
    """An HTTP client with a single keep-alive connection."""

    def __init__(self, port: int, key: str, tenant: str, timeout_s: float, host: str = "127.0.0.1") -> None:
        self.connection = http.client.HTTPConnection(host, port, timeout=timeout_s)
        self.headers = {"Authorization": f"Bearer {key}", "X-Tenant": tenant, "Content-Type": "application/json"}

    def call(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> tuple[int, Any]:
        """Send a request, and return (status, body). Raises OSError or HTTPException if there is no response."""
        sent = self.headers | (headers or {})
        self.connection.request(method, path, None if body is None else json.dumps(body), sent)
        response = self.connection.getresponse()
        content = response.read()
        return response.status, json.loads(content) if content else None

    def get(self, path: str) -> Any:
        return self._good(*self.call("GET", path))

    def post(self, path: str, body: Any) -> Any:
        return self._good(*self.call("POST", path, body))

    def wait_until_indexed(self, timeout_s: float = 600) -> float:
        """Wait until no memory awaits indexing, and return how many seconds that took."""
        began = time.monotonic()
        while self.get("/stats")["index"]["pending"]:
            if time.monotonic() - began > timeout_s:
                raise RuntimeError(f"the index had not caught up after {timeout_s} s")
            time.sleep(0.05)
        return time.monotonic() - began

    def _good(self, status: int, answer: Any) -> Any:
        if status >= 400:
            raise RuntimeError(f"{status}: {answer}")
        return answer


def free_port() -> int:
    """Return a free local port that is never assigned to outgoing connections.

    The system assigns ports from 32768 upwards to outgoing connections. If a server used such a port and was killed,
    the port could be in use by the time the server is started again.
    """
    while True:
        port = random.SystemRandom().randrange(10_240, 32_768)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
