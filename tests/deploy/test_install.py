"""deploy/install.sh and the systemd units: the installed files, and the units' commands.

There is no systemd in the tests, so `testing.installation` runs the units' commands in the same way.
"""

from __future__ import annotations

import getpass
import json
import os
import re
import shutil
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from testing.installation import Tree, install, installed
from testing.processes import HOME, Process, wait_for

pytestmark = [pytest.mark.server, pytest.mark.once]

SERVICES = ("somamemory", "somamemory-worker", "somamemory-beat", "somamemory-migrate", "somamemory-backup")
analyze = pytest.mark.skipif(
    not shutil.which("systemd-analyze"), reason="NOT CHECKED: systemd-analyze is missing (apt-get install systemd)"
)


def everything(root: Path) -> dict[str, tuple[int, bytes]]:
    found = {path: path.stat(follow_symlinks=False) for path in root.rglob("*") if ".venv" not in path.parts}
    return {
        str(path.relative_to(root)): (about.st_mode, path.read_bytes() if stat.S_ISREG(about.st_mode) else b"")
        for path, about in found.items()
    }


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """An installation for tests that change nothing."""
    return installed(tmp_path_factory.mktemp("fresh"))


# --- installed files ---------------------------------------------------------------------------------------------


def test_a_dry_run_prints_every_step_and_changes_nothing(tmp_path: Path) -> None:
    done = install(tmp_path, "--dry-run")

    assert done.returncode == 0, done.stderr
    for place in ("/opt/somamemory", "/etc/somamemory/environment", "/somamemory.socket", "/usr/local/sbin/somamemory"):
        assert f"{tmp_path}" in done.stdout
        assert place in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_on_an_installation_changes_nothing(tmp_path: Path) -> None:
    installed(tmp_path)
    before = everything(tmp_path)

    assert install(tmp_path, "--dry-run").returncode == 0
    assert install(tmp_path, "--dry-run", "--uninstall", "--purge").returncode == 0
    assert everything(tmp_path) == before


def test_the_settings_hold_a_secret_and_are_the_owners_alone(fresh: Tree) -> None:
    assert stat.S_IMODE(fresh.settings.stat().st_mode) == 0o600
    assert stat.S_IMODE(fresh.data.stat().st_mode) == 0o700
    assert re.search(r"^SOMA_SECRET_KEY=[0-9a-f]{64}$", fresh.settings.read_text(), re.MULTILINE)


def test_a_second_run_keeps_the_settings_and_mends_the_program(tmp_path: Path) -> None:
    tree = installed(tmp_path, 12345)
    before = everything(tmp_path)
    (tmp_path / "opt/somamemory/manage.py").unlink()
    (tmp_path / "opt/somamemory/stale.py").touch()
    tree.units["somamemory.socket"].write_text("broken")

    assert install(tmp_path).returncode == 0
    assert everything(tmp_path) == before


def test_two_installations_have_different_secrets(fresh: Tree, tmp_path: Path) -> None:
    assert installed(tmp_path).settings.read_text().splitlines()[1] != fresh.settings.read_text().splitlines()[1]


def test_the_port_is_the_same_in_the_settings_the_socket_and_the_probe(tmp_path: Path) -> None:
    tree = installed(tmp_path, 12345)

    assert "SOMA_PORT=12345" in tree.settings.read_text()
    assert tree.unit("somamemory.socket")["Socket"]["ListenStream"] == "127.0.0.1:12345"
    assert tree.words("somamemory.service", "ExecStartPost")[-1] == "http://127.0.0.1:12345/readyz"


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--port", "0"], "--port"),
        (["--port", "09595"], "--port"),
        (["--port", "65536"], "--port"),
        (["--port", "many"], "--port"),
        (["--purge"], "--uninstall"),
        (["--fast"], "--fast"),
    ],
)
def test_an_option_that_cannot_be_is_refused_and_nothing_is_written(
    tmp_path: Path, options: list[str], word: str
) -> None:
    done = install(tmp_path, *options)

    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert word in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_uninstalling_keeps_data_and_settings(tmp_path: Path) -> None:
    tree = installed(tmp_path)
    (tree.data / "somamemory.sqlite3").write_text("dear")

    done = install(tmp_path, "--uninstall")

    assert done.returncode == 0, done.stderr
    assert "Kept:" in done.stdout
    left = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert left == ["etc/somamemory/environment", "var/lib/somamemory/somamemory.sqlite3"]


def test_purging_leaves_nothing_behind(tmp_path: Path) -> None:
    (installed(tmp_path).data / "somamemory.sqlite3").write_text("not dear")

    assert install(tmp_path, "--uninstall", "--purge").returncode == 0
    assert [path for path in tmp_path.rglob("*") if path.is_file() or "somamemory" in path.name] == []


def test_uninstalling_a_missing_installation_is_not_an_error(tmp_path: Path) -> None:
    assert install(tmp_path, "--uninstall", "--purge").returncode == 0


def test_the_program_is_what_the_image_holds_and_no_file_of_the_owner(fresh: Tree) -> None:
    copied = set(re.findall(r"^COPY ([a-z_.]+) ", (HOME / "Dockerfile").read_text(), re.MULTILINE))
    there = {path.name for path in (fresh.root / "opt/somamemory").iterdir()}

    assert copied | {".venv", "deploy", "docs", "requirements", "LICENSE"} == there


def test_only_the_installing_user_can_change_the_program_and_everyone_can_read_it(tmp_path: Path) -> None:
    """Otherwise, the owner of the checkout could change the code that the services run."""
    source, root = tmp_path / "checkout", tmp_path / "root"
    shutil.copytree(HOME / "deploy", source / "deploy")
    for name in ("Dockerfile", "manage.py"):
        shutil.copy(HOME / name, source)
    for path in [source, *source.rglob("*")]:
        path.chmod(0o770 if path.is_dir() or path.suffix == ".sh" else 0o660)
        if os.getuid() == 0:
            os.chown(path, 12345, 12345)

    command = [str(source / "deploy/install.sh"), "--root", str(root), "--venv", sys.prefix]
    subprocess.run(command, check=True, capture_output=True, umask=0o077, timeout=60)

    program = root / "opt/somamemory"
    for path in [
        program,
        *(path for path in program.rglob("*") if not path.is_symlink() and ".venv" not in path.parts),
    ]:
        about = path.stat()
        assert (about.st_uid, about.st_mode & 0o022) == (os.getuid(), 0), path
        assert about.st_mode & 0o005 == (0o005 if path.is_dir() or path.suffix == ".sh" else 0o004), path


def test_an_update_makes_an_environment_readable_that_was_created_with_another_umask(tmp_path: Path) -> None:
    root, python = tmp_path / "root", tmp_path / "bin/python3"
    folder = root / "opt/somamemory/.venv/bin"
    folder.mkdir(parents=True)
    python.parent.mkdir()
    for path in (folder / "python", python):
        path.write_text("#!/bin/sh\n")
        path.chmod(0o700)
    packages = (HOME / "requirements/base.txt").read_bytes()
    stamp = subprocess.run(["cksum"], input=packages, check=True, capture_output=True).stdout
    (folder.parent / "base.installed").write_bytes(stamp)
    folder.parent.chmod(0o700)

    command = [str(HOME / "deploy/install.sh"), "--root", str(root)]
    environment = {**os.environ, "PATH": f"{os.environ['PATH']}:{python.parent}"}
    subprocess.run(command, check=True, capture_output=True, env=environment, timeout=60)

    for path in (folder.parent, folder / "python"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o755


# --- verification of the units by systemd ------------------------------------------------------------------------


@analyze
def test_systemd_accepts_the_units(fresh: Tree, tmp_path: Path) -> None:
    for name, path in fresh.units.items():  # where their commands are
        (tmp_path / name).write_text(fresh.rooted(path.read_text()))
    units = [str(path) for path in tmp_path.iterdir()]
    done = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True, check=False)

    assert (done.returncode, [line for line in done.stderr.splitlines() if "somamemory" in line]) == (0, [])


@analyze
@pytest.mark.parametrize("name", SERVICES)
def test_no_service_is_exposed_by_more_than_one_and_a_half(fresh: Tree, name: str) -> None:
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=15"]
    done = subprocess.run([*command, str(fresh.units[f"{name}.service"])], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "Overall exposure level" in done.stdout


def test_every_service_runs_as_the_user_with_bounds(fresh: Tree) -> None:
    for name in SERVICES:
        service = fresh.unit(f"{name}.service")["Service"]
        assert service["User"] == service["Group"] == "somamemory"
        assert {"MemoryMax", "TasksMax"} <= set(service)
        assert service["EnvironmentFile"].endswith("/etc/somamemory/environment")


# --- running services --------------------------------------------------------------------------------------------


class Service:
    """The web server behind a socket that the test holds in place of systemd."""

    def __init__(self, root: Path) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self.socket.getsockname()[1]
        self.tree = installed(root, self.port)
        self.web: Process | None = None

    def start(self) -> None:
        self.web = self.tree.process("somamemory.service", self.socket)
        self.web.start()

    def stop(self) -> int | None:
        web, self.web = self.web, None
        return web.stop() if web else None

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=180)
        key = (self.tree.data / "first-key").read_text().strip()
        try:
            headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    made = Service(tmp_path_factory.mktemp("service"))
    migrated = made.tree.run("somamemory-migrate.service")
    assert migrated.returncode == 0, migrated.stderr
    yield made
    made.stop()
    made.socket.close()


def test_a_life_of_the_web_server(service: Service) -> None:
    """Start, probe, store, search and stop; send a request while the server is down; upgrade; let the next server
    respond.
    """
    service.start()
    probed = service.tree.run("somamemory.service", "ExecStartPost")
    assert probed.returncode == 0, probed.stderr
    memory = {"coord": "1,2,3", "payload": {"text": "Ada likes her coffee without sugar."}}
    assert service.call("POST", "/memories", memory)[0] == 201
    wait_for(lambda: not service.call("GET", "/stats")[1]["index"]["pending"])
    assert found(service) == ["Ada likes her coffee without sugar."]
    assert service.stop() == 0

    answers: list[Any] = []
    waiting = threading.Thread(target=lambda: answers.append(service.call("GET", "/memories/1,2,3")))
    waiting.start()
    assert install(service.tree.root).returncode == 0  # an upgrade of the files
    assert service.tree.run("somamemory-migrate.service").returncode == 0
    assert answers == []  # no server is running, so the request waits in the socket
    service.start()
    waiting.join(60)

    assert [status for status, _ in answers] == [200]
    saved = service.tree.run("somamemory-backup.service")  # while it is serving
    assert saved.returncode == 0, saved.stderr
    assert len(list((service.tree.data / "backups").iterdir())) == 1
    assert found(service) == ["Ada likes her coffee without sugar."]
    assert service.stop() == 0


def found(service: Service) -> list[str]:
    status, answer = service.call("POST", "/memories/search", {"query": "How does Ada drink coffee?"})
    assert status == 200, answer
    return [memory["payload"]["text"] for memory in answer["memories"]]


def test_the_probe_fails_if_no_server_responds(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    tree = installed(tmp_path, port)
    words = [*tree.words("somamemory.service", "ExecStartPost"), "0.1"]
    done = subprocess.run(words, cwd=tree.root / "opt/somamemory", capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert f"http://127.0.0.1:{port}/readyz did not return 200" in done.stderr


def test_the_command_uses_the_settings_of_the_services(service: Service) -> None:
    done = command(service.tree, "list_keys")

    assert done.returncode == 0, done.stderr
    assert "first key" in done.stdout


def test_the_command_takes_values_literally_and_executes_none(tmp_path: Path) -> None:
    tree = installed(tmp_path)
    with tree.settings.open("a") as file:
        file.write(f'# a comment\n\nSOMA_EMBEDDING_MODEL="a $(touch {tmp_path}/ran) b # c"\nSOMA_PRT=1')

    done = command(tree, "check")

    assert "SOMA_PRT is not a setting; did you mean SOMA_PORT?" in done.stdout + done.stderr
    assert not (tmp_path / "ran").exists()


def command(tree: Tree, *words: str) -> subprocess.CompletedProcess[str]:
    """`somamemory …`, run by our user instead of the service's."""
    text = tree.rooted(tree.command.read_text()).replace("account=somamemory", f"account={getpass.getuser()}")
    mine = tree.root / "command"
    mine.write_text(text)
    return subprocess.run(["sh", str(mine), *words], capture_output=True, text=True, timeout=180, check=False)
