"""Folders for files that processes map, which a killed process cannot remove itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from somamemory import files
from testing.processes import wait_for

pytestmark = pytest.mark.once

_KILLED = """
import os, signal, sys
from somamemory import files
files._SHARED_MEMORY = sys.argv[1]
print(files.mapped_folder("metrics-"), flush=True)
if os.fork():
    os.kill(os.getpid(), signal.SIGKILL)
sys.stdin.read()  # until the test closes it
"""


@pytest.fixture(autouse=True)
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(files, "_SHARED_MEMORY", str(tmp_path))
    return tmp_path


def test_a_folder_is_private() -> None:
    assert os.stat(files.mapped_folder("metrics-")).st_mode & 0o777 == 0o700


def test_a_folder_in_use_stays() -> None:
    first, second = files.mapped_folder("metrics-"), files.mapped_folder("metrics-")

    assert first != second
    assert os.path.isdir(first)


def test_the_folder_of_a_killed_process_is_removed_once_its_children_have_ended(memory: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _KILLED, str(memory)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as killed:
        assert killed.stdin
        assert killed.stdout
        left = Path(killed.stdout.readline().strip())
        killed.wait()
        files.mapped_folder("metrics-")
        assert left.is_dir()

    def is_removed() -> bool:  # as soon as the child, whose input is closed now, has ended
        files.mapped_folder("metrics-")
        return not left.exists()

    wait_for(is_removed)


def test_other_folders_stay(memory: Path) -> None:
    (memory / "other").mkdir()

    files.mapped_folder("metrics-")

    assert (memory / "other").is_dir()
