"""Run a real Milvus server (2.3.5, standalone, from the PyPI package `milvus`) for tests and benchmarks.

    python -m testing.milvus_server COMMAND …    run the command with SOMA_TEST_MILVUS_URI set to the server

`scripts/test-milvus.sh` installs the package in a separate environment, so this module does not import it.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

from testing.server import ROOT, free_port

CACHE = ROOT / ".cache" / "milvus"
PYTHON = CACHE / "venv" / "bin" / "python"
START_TIMEOUT_S = 90

# When the package's own launcher is stopped, it leaves its child process behind. After a stop, it also cannot use the
# same port for a minute, because it checks the port without SO_REUSEADDR. Therefore, the launcher is used only to
# unpack files and write the configuration, and this module runs the server.
_PREPARE = """
import json, sys, milvus
folder, unpacked, options = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
config = milvus.MilvusServerConfig(data_dir=folder, **options.pop("ports"))
config.resolve_storage()
for name, value in options.items():
    config.set(name, value)
milvus._initialize_data_files(unpacked)
config.resolve()
"""
# By default, the embedded etcd always uses the ports 2379 and 2380, so a second server could not start.
_ETCD = """name: default
listen-client-urls: {client}
advertise-client-urls: {client}
listen-peer-urls: {peer}
initial-advertise-peer-urls: {peer}
initial-cluster: default={peer}
"""
_PORTS = (
    "etcd_port", "root_coord_port", "proxy_port", "proxy_internal_port", "query_coord_port", "query_node_port",
    "index_coord_port", "index_node_port", "data_coord_port", "data_node_port",
)  # fmt: skip


class Missing(RuntimeError):
    """Raised if the server cannot run on this machine."""


class MilvusServer:
    """A server with its own folder. It can be killed, and started again on the same port with the same data.

    options: the package's configuration options, such as tls_mode, server_pem_path or server_key_path.
    """

    def __init__(self, folder: pathlib.Path, **options: object) -> None:
        if not PYTHON.exists():
            raise Missing("the Milvus server is not installed; scripts/test-milvus.sh installs it")
        self.folder = folder
        self.options = options
        self.ports = {name: free_port() for name in _PORTS}
        self.health_port = free_port()
        self.uri = f"http://127.0.0.1:{self.ports['proxy_port']}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> float:
        """Start the server, wait until it responds, and return how many seconds that took."""
        began = time.monotonic()
        unpacked = CACHE / "unpacked"
        if not (self.folder / "configs" / "milvus.yaml").exists():
            self._prepare(unpacked)
        programs = unpacked / "bin"
        environment = os.environ | {
            "DEPLOY_MODE": "STANDALONE",
            "METRICS_PORT": str(self.health_port),
            "MILVUS_RUN_DIR": str(self.folder / "run"),
            "MILVUSCONF": str(self.folder / "configs"),
            "LD_LIBRARY_PATH": str(programs),
        }
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [programs / "milvus", "run", "standalone"],
                cwd=self.folder,
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        while time.monotonic() - began < START_TIMEOUT_S:
            if self.process.poll() is not None:
                raise Missing(f"the Milvus server exited immediately:\n{self.log()[-2000:]}")
            if self._healthy():
                return time.monotonic() - began
            time.sleep(0.1)
        self.kill()
        raise Missing(f"the Milvus server did not respond within {START_TIMEOUT_S} s:\n{self.log()[-2000:]}")

    def _prepare(self, unpacked: pathlib.Path) -> None:
        configuration = json.dumps(
            {"ports": self.ports, "log.level": "error", "etcd_log_level": "error", **self.options}
        )
        subprocess.run([PYTHON, "-c", _PREPARE, str(self.folder), str(unpacked), configuration], check=True)
        client, peer = (f"http://127.0.0.1:{port}" for port in (self.ports["etcd_port"], free_port()))
        etcd, milvus = self.folder / "configs" / "etcd.yaml", self.folder / "configs" / "milvus.yaml"
        etcd.write_text(_ETCD.format(client=client, peer=peer))
        text = milvus.read_text()
        milvus.write_text(text.replace("\netcd:\n", f"\netcd:\n  config:\n    path: {etcd}\n", 1))

    def kill(self, how: int = signal.SIGKILL) -> None:
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, how)
            self.process.wait(90)

    def pause(self) -> None:
        """Stop responding without closing connections, like a machine that hangs."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGCONT)

    def log(self) -> str:
        return (self.folder / "server.log").read_text(errors="replace")

    def _healthy(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.health_port, timeout=2)
        try:
            connection.request("GET", "/healthz")
            return b"OK" in connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def __enter__(self) -> MilvusServer:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.kill()


def main(command: list[str]) -> int:
    with tempfile.TemporaryDirectory(prefix="soma-milvus-") as folder:
        try:
            server = MilvusServer(pathlib.Path(folder))
            print(f"Milvus server 2.3.5 started in {server.start():.1f} s", flush=True)
        except (Missing, OSError, subprocess.CalledProcessError) as error:
            print(f"the Milvus server cannot run on this machine: {error}", file=sys.stderr)
            return 2
        # Exit normally if this process is terminated, so that the server is stopped as well.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        try:
            return subprocess.run(command, env=os.environ | {"SOMA_TEST_MILVUS_URI": server.uri}).returncode
        finally:
            server.kill()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
