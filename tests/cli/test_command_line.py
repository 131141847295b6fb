"""The command line itself: help, profiles, errors, completion, and commands for this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from api.mcp.endpoint import PROFILES
from somamemory.cli import connection, local
from somamemory.cli.app import app
from somamemory.cli.connection import Target, profile
from somamemory.cli.errors import CliError
from somamemory.errors import ConfigurationError
from testing.processes import HOME
from tests.cli.conftest import Soma

PING = '{"jsonrpc": "2.0", "id": 7, "method": "ping"}\n'


def leaves(command: click.Command, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], click.Command]]:
    if isinstance(command, click.Group):
        return [leaf for name, child in command.commands.items() for leaf in leaves(child, (*path, name))]
    return [(path, command)]


@pytest.mark.parametrize("path", [path for path, _ in leaves(app) if path != ("manage",)], ids=" ".join)
def test_every_command_has_help(bare: Soma, path: tuple[str, ...]) -> None:
    done = bare(
        *path, "-h" if path[0] in ("backup", "restore", "reconcile", "reembed", "migrate-database") else "--help"
    )

    assert (done.code, done.err) == (0, "")
    assert len(done.out.splitlines()) > 3


def test_the_help_has_examples_and_exit_codes(bare: Soma) -> None:
    text = bare("--help").out

    assert "Examples:" in text
    assert "Exit codes:" in text


def test_an_unknown_command_is_refused_with_the_most_similar_one(bare: Soma) -> None:
    done = bare("serv")

    assert done.code == 2
    assert "serve" in done.err


def test_an_unreachable_server_has_its_own_exit_code(bare: Soma) -> None:
    done = bare("list", "--url", "http://127.0.0.1:1", "--json")

    assert (done.code, done.error["exit_code"]) == (3, 3)
    assert "127.0.0.1:1" in done.error["message"]


@pytest.mark.parametrize("url", ["ftp://host", "nonsense", "http://"])
def test_an_invalid_url_is_refused_before_a_request(bare: Soma, url: str) -> None:
    assert bare("list", "--url", url).code == 2


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (KeyboardInterrupt(), 130, "Interrupted."),
        (ConfigurationError("SOMA_PORT must be a whole number"), 2, "SOMA_PORT must be"),
        (PermissionError(13, "Permission denied", "/data"), 1, "/data: Permission denied"),
        (ZeroDivisionError("division by zero"), 1, "unexpected ZeroDivisionError"),
    ],
)
def test_no_error_becomes_a_traceback(
    bare: Soma, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, message: str
) -> None:
    def fail(target: Target) -> None:
        raise error

    monkeypatch.setattr(Target, "connect", fail)
    done = bare("list")

    assert done.code == code
    assert message in done.err


def write(text: str) -> None:
    connection.profile_file().write_text(text)


def test_a_profile_contains_the_address_and_the_key(bare: Soma) -> None:
    write('[default]\nurl = "http://one"\n[work]\nurl = "http://two"\napi_key = "secret"\n')

    assert profile(None) == {"url": "http://one"}
    assert profile("work") == {"url": "http://two", "api_key": "secret"}


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        (None, "work", "does not exist"),
        ("[other]\n", "work", "has no [work] table; it contains other"),
        ("= nonsense", None, "is not valid TOML"),
        ('[default]\naddress = "x"\n', None, "unknown field 'address'"),
    ],
)
def test_an_invalid_profile_is_refused(bare: Soma, text: str | None, name: str | None, message: str) -> None:
    if text is not None:
        write(text)
    with pytest.raises(CliError) as error:
        profile(name)

    assert message in str(error.value)


@pytest.mark.parametrize("variable", ["", "/of-variable"])
def test_the_variable_for_the_data_folder_overrides_the_profile(
    bare: Soma, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    targets: list[Target] = []
    monkeypatch.setattr(Target, "call", lambda target, *arguments, **fields: targets.append(target))
    monkeypatch.setenv("SOMA_DATA_DIR", variable)
    write('[default]\ndata_dir = "/of-profile"\n')
    bare("list", "--json")

    assert targets[0].data_dir == Path(variable or "/of-profile")


def test_the_variable_for_the_data_folder_overrides_the_server_of_the_profile(
    bare: Soma, monkeypatch: pytest.MonkeyPatch
) -> None:
    targets: list[Target] = []
    monkeypatch.setattr(Target, "call", lambda target, *arguments, **fields: targets.append(target))
    monkeypatch.setenv("SOMA_DATA_DIR", "/of-variable")
    write('[default]\nurl = "https://memory.example.org"\napi_key = "secret"\n')
    bare("list", "--json")

    assert (targets[0].url, targets[0].api_key) == (None, None)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_has_a_completion_script(bare: Soma, shell: str) -> None:
    assert "_SOMAMEMORY_COMPLETE" in bare("completion", shell).out


def test_an_unknown_shell_is_refused(bare: Soma) -> None:
    assert bare("completion", "csh").code == 2


# --- Commands for this machine


@pytest.fixture
def executed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[list[str]]:
    """Record management commands instead of executing them."""
    lines: list[list[str]] = []

    def execute(arguments: list[str]) -> int:
        lines.append(list(arguments))
        print("done by Django")
        return 0

    monkeypatch.setattr(local, "_execute", execute)
    monkeypatch.setattr(Target, "use_data_dir", lambda target: target.data_dir or tmp_path)
    return lines


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (["backup", "--to", "/backups"], ["backup", "--to", "/backups"]),
        (["restore", "/backups/one"], ["restore", "/backups/one"]),
        (["reconcile", "--repair"], ["reconcile", "--repair"]),
        (["reembed", "--provider", "hashing"], ["reembed", "--provider", "hashing"]),
        (["migrate-database", "--to", "-"], ["migrate_database", "--to", "-"]),
        (["manage", "createsuperuser"], ["createsuperuser"]),
        (["manage"], ["help"]),
        (["list_keys", "acme"], ["list_keys", "acme"]),
        (["serve", "--port", "8080"], ["serve"]),
    ],
)
def test_a_command_for_this_machine_runs_a_management_command(
    bare: Soma, executed: list[list[str]], monkeypatch: pytest.MonkeyPatch, arguments: list[str], command: list[str]
) -> None:
    monkeypatch.setattr(os, "environ", dict(os.environ))

    assert bare(*arguments).code == 0
    assert executed == [command]


@pytest.mark.parametrize("command", ["backup", "reconcile", "reembed", "migrate-database", "init"])
def test_a_command_for_this_machine_refuses_a_server(bare: Soma, executed: list[list[str]], command: str) -> None:
    done = bare(command, "--url", "http://127.0.0.1:9595")

    assert (done.code, executed) == (2, [])
    assert "works only on the local data folder" in done.err


def test_the_output_of_a_management_command_can_be_json(bare: Soma, executed: list[list[str]]) -> None:
    assert bare("backup", "--json").json == {"command": "backup", "exit_code": 0, "output": ["done by Django"]}


def test_a_new_installation_prints_the_path_of_its_key(bare: Soma, executed: list[list[str]], tmp_path: Path) -> None:
    (tmp_path / "first-key").write_text("secret")

    assert str(tmp_path / "first-key") in bare("init").out
    assert bare("init", "--json").json["data_dir"] == str(tmp_path)


@pytest.mark.parametrize("port", ["0", "many", "70000"])
def test_an_invalid_port_is_refused(bare: Soma, executed: list[list[str]], port: str) -> None:
    assert (bare("serve", "--port", port).code, executed) == (2, [])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--profile", "nonsense"], "is not one of 'default', 'chatgpt', 'knowledge-graph', 'sekha'"),
        (["--namespace", "a%b"], "must be 1 to 255 characters"),
        (["--namespace", ""], "must be 1 to 255 characters"),
    ],
)
def test_mcp_refuses_invalid_options_before_the_first_message(
    bare: Soma, executed: list[list[str]], arguments: list[str], message: str
) -> None:
    done = bare("mcp", *arguments)

    assert done.code == 2
    assert message in done.err


def test_the_profiles_of_mcp_are_those_of_the_endpoint() -> None:
    assert tuple(PROFILES) == local.TOOL_PROFILES


def test_the_program_works_on_an_empty_data_folder(tmp_path: Path) -> None:
    stored = program(tmp_path, "store", "Ada drinks coffee", "--key", "ada")
    assert (stored.returncode, stored.stderr) == (0, b"")
    assert b"Ada drinks coffee" in program(tmp_path, "get", "ada").stdout
    assert json.loads(program(tmp_path, "mcp", sent=PING).stdout) == {"jsonrpc": "2.0", "id": 7, "result": {}}


def test_a_memory_is_shown_in_an_encoding_that_lacks_some_of_its_characters(tmp_path: Path) -> None:
    program(tmp_path, "store", "Ada \u2192 café", "--key", "ada")
    shown = program(tmp_path, "list", PYTHONIOENCODING="latin-1")
    document = program(tmp_path, "get", "ada", "--json", PYTHONIOENCODING="latin-1")

    assert "Ada ? café" in shown.stdout.decode("latin-1"), shown.stderr
    assert json.loads(document.stdout)["payload"]["text"] == "Ada \u2192 café"


def program(home: Path, *arguments: str, sent: str = "", **settings: str) -> subprocess.CompletedProcess[bytes]:
    """Run the program with a data folder in `home`, and without a server."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SOMA_")}
    environment = {**kept, "SOMA_PORT": "1", "HOME": str(home), **settings}
    command = [sys.executable, "-m", "somamemory", *arguments, "--data-dir", str(home / "data")]
    return subprocess.run(command, cwd=HOME, env=environment, input=sent.encode(), capture_output=True, timeout=120)
