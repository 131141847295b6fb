"""Commands that use the local data folder, through its server or in their own process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from testing.server import Server

pytestmark = [pytest.mark.server, pytest.mark.once]


def soma(server: Server, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "somamemory", *arguments, "--json"]
    return subprocess.run(command, env=server.environment | variables, capture_output=True, text=True, check=False)


def parsed(done: subprocess.CompletedProcess[str]) -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("is_running", [True, False])
def test_a_command_has_only_the_permissions_of_its_key(tmp_path: Path, is_running: bool) -> None:
    server = Server(tmp_path)
    del server.environment["SOMA_BOOTSTRAP_KEY"]
    if is_running:
        server.start()
    try:
        parsed(soma(server, "tenants", "create", "globex"))
        key = parsed(soma(server, "keys", "create", "globex", "--scope", "write"))["key"]
        parsed(soma(server, "store", "theirs", "--key", "a", SOMA_API_KEY=key))
        unknown = soma(server, "get", "a", SOMA_API_KEY="an unknown key")
        own = soma(server, "get", "a")
        theirs = soma(server, "get", "a", "--tenant", "globex")
    finally:
        if is_running:
            server.stop()

    assert parsed(theirs)["payload"] == {"text": "theirs"}
    assert own.returncode == 4
    assert (unknown.returncode, json.loads(unknown.stderr)["error"]["status"]) == (1, 401)


def test_the_settings_of_another_django_project_are_ignored(tmp_path: Path) -> None:
    server = Server(tmp_path)

    assert parsed(soma(server, "store", "tea", "--key", "a", DJANGO_SETTINGS_MODULE="mysite.settings"))["key"] == "a"
