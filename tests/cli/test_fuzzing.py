"""Any input produces a readable message: no traceback and no unexpected error."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TextIO

import click
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from somamemory.cli import connection, local, open_standard_streams
from somamemory.cli.app import app
from tests.cli.conftest import Soma
from tests.cli.test_command_line import leaves

WORDS = [
    "", "-", "--", "0", "-1", "7", "1e400", "NaN", "1,2", "1,2,x", "a/../b", "%00", "\0", "\n", "\udcff", "🎉", "{",
    "[]", "{}", '{"a": 1e400}', '{"text": "\\ud800"}', "a" * 3000, "2f1f0e60-0000-4000-8000-000000000000", "default",
    "ada", "2026-01-01T00:00:00Z", "0000-00-00", "--json", "--nonsense", "FILE", "FOLDER",
]  # fmt: skip
EXIT_CODES = {0, 1, 2, 3, 4, 130}
COMMANDS = [(path, command) for path, command in leaves(app) if path[0] not in ("serve", "mcp", "manage", "doctor")]


@st.composite
def command_lines(draw: st.DrawFn) -> list[str]:
    path, command = draw(st.sampled_from(COMMANDS))
    names = [name for option in command.params if isinstance(option, click.Option) for name in option.opts]
    names = ["--json", *(name for name in names if name not in ("--url", "--data-dir", "--profile"))]
    line = list(path)
    for _ in range(draw(st.integers(0, 3))):
        line.append(draw(st.sampled_from(WORDS)))
    for name in draw(st.lists(st.sampled_from(names), max_size=3)):
        line += [name, draw(st.sampled_from(WORDS))]
    return line


def test_no_command_line_leads_to_an_unexpected_error(
    soma: Soma, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "folder.json").mkdir()
    file = tmp_path / "memories.jsonl"
    file.write_bytes(b'{"payload": {"text": "a"}}\n{"payload": 1}\n\xff\n')
    places = {"FILE": str(file), "FOLDER": str(tmp_path)}
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(local, "_execute", lambda arguments: 0)
    monkeypatch.setattr(os, "environ", {**os.environ, "SOMA_DATA_DIR": str(tmp_path)})

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(line=command_lines())
    def check(line: list[str]) -> None:
        done = soma(*[places.get(word, word) for word in line])
        assert done.code in EXIT_CODES
        assert "error: unexpected" not in done.err
        assert done.code == 0 or done.out or done.err
        if done.code == 0 and "--json" in line and done.out.startswith(("{", "[")):
            json.loads(done.out)

    check()


@pytest.mark.parametrize(
    "text", ["default = 3", "[default]\nurl = 3", "[default]\nurl = []", "\0", "[default", "\udcff"]
)
def test_a_broken_profile_file_is_refused_by_its_name(bare: Soma, text: str) -> None:
    connection.profile_file().write_bytes(text.encode(errors="surrogateescape"))
    done = bare("list")

    assert done.code == 2
    assert "profiles.toml" in done.err


def test_a_device_is_written_and_not_replaced(soma: Soma, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    soma("store", "Ada drinks coffee")

    assert soma("export", "--memories", "--output", str(pipe)).code == 0
    assert b"Ada drinks coffee" in os.read(reader, 10_000)
    assert pipe.is_fifo()
    os.close(reader)


def test_the_folder_of_an_output_must_exist(soma: Soma, tmp_path: Path) -> None:
    done = soma("export", "--output", str(tmp_path / "missing" / "file"))

    assert done.code == 2
    assert "--output: there is no folder" in done.err


def test_an_empty_folder_is_not_an_import(bare: Soma, tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()

    assert "contains no files" in bare("import", str(tmp_path / "nothing")).err


def discard(stream: TextIO) -> None:
    """Close a stream whose buffered output cannot be written."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    stream.close()


def test_output_that_cannot_be_written_is_an_error(bare: Soma, monkeypatch: pytest.MonkeyPatch) -> None:
    full = os.fdopen(os.open("/dev/full", os.O_WRONLY), "w")
    monkeypatch.setattr(sys, "stdout", full)
    done = bare("--version")
    discard(full)

    assert (done.code, done.err) == (1, "error: No space left on device\n")


def test_a_closed_pipe_ends_the_command(bare: Soma, monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    pipe = os.fdopen(writer, "w")
    monkeypatch.setattr(sys, "stdout", pipe)
    done = bare("--version")
    discard(pipe)

    assert (done.code, done.err) == (1, "")


def test_closed_standard_streams_are_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    open_standard_streams()
    streams = (sys.stdin, sys.stdout, sys.stderr)
    monkeypatch.undo()

    assert [stream.name for stream in streams] == [os.devnull] * 3
    for stream in streams:
        stream.close()


def test_a_null_character_in_a_file_name_is_a_usage_error(soma: Soma) -> None:
    done = soma("import", "\x00")
    assert (done.code, done.out) == (2, "")
    assert "a file name contains a null character; correct it" in done.err
