"""Only the owner can read the service's files, even with a umask that allows others to read them."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from somamemory import files
from testing import ROOT, template
from testing.server import Server

READABLE_UMASK = 0o022


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose owner created the data folder with the usual mode, after one backup."""
    before = os.umask(READABLE_UMASK)
    folder = tmp_path_factory.mktemp("private") / "data"
    folder.mkdir(mode=0o755)
    made = Server(folder)
    with template.unused():
        made.start()
    try:
        subprocess.run([sys.executable, "manage.py", "backup"], cwd=ROOT, env=made.environment, check=True, timeout=120)
        yield made
    finally:
        made.stop()
        os.umask(before)


@pytest.mark.server
@pytest.mark.once
def test_others_can_read_no_file_of_the_server_or_of_a_backup(server: Server) -> None:
    files = [path for path in server.data_dir.rglob("*") if path.name != "server.log"]  # opened by this test

    assert {"somamemory.sqlite3", "somamemory.sqlite3-wal", "manifest.json"} <= {path.name for path in files}
    assert [str(path) for path in files if path.stat().st_mode & 0o077] == []


@pytest.mark.server
@pytest.mark.once
def test_the_first_key_is_in_a_private_file_and_is_not_printed(server: Server) -> None:
    file = server.data_dir / "first-key"

    assert file.read_text() == server.key
    assert server.key not in server.log()
    assert str(file) in server.log()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_files_of_an_earlier_version_become_private(tmp_path: Path) -> None:
    (tmp_path / "somamemory.sqlite3").touch(mode=0o644)
    (tmp_path / "elsewhere").symlink_to("/etc/hostname")

    assert files.make_private(tmp_path) == ["somamemory.sqlite3"]

    assert stat.S_IMODE((tmp_path / "somamemory.sqlite3").stat().st_mode) == 0o600
