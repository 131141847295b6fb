"""The isolation check detects leaks and leaves nothing behind."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test.client import Client

from operations.isolation import check, compat_cases
from operations.isolation.cases import CASES
from operations.isolation.compat_cases import MEM0, SEKHA
from tenants.caller import Caller
from tenants.models import Tenant
from testing import ROOT
from testing.server import Server, free_port
from tests.conftest import Api, drain


def send(method: str, path: str, body: Any, headers: Mapping[str, str]) -> tuple[int, str]:
    if path.endswith("/stats"):  # the check waits for the index
        drain()
    content = b"" if body is None else json.dumps(body).encode()
    client = Client(raise_request_exception=False)
    response = client.generic(method, path, content, content_type="application/json", headers=dict(headers))
    return response.status_code, response.getvalue().decode()


def test_a_sound_installation_passes_and_is_left_as_it_was(operator: Api) -> None:
    tenants = set(Tenant.objects.values_list("slug", flat=True))

    result = check.run(Caller.command(operator.tenant), send)

    assert result.problems == []
    assert result.routes == len(CASES) + len(MEM0) + len(SEKHA)
    assert result.requests > 3 * len(CASES)
    assert set(Tenant.objects.values_list("slug", flat=True)) == tenants


def test_a_leak_and_a_change_are_found(operator: Api) -> None:
    """Each of the attacker's requests gets the owner's response."""
    keys: list[str] = []

    def confused(method: str, path: str, body: Any, headers: Mapping[str, str]) -> tuple[int, str]:
        key = headers["Authorization"]
        if key not in keys:
            keys.append(key)
        return send(method, path, body, {"Authorization": keys[0]})

    result = check.run(Caller.command(operator.tenant), confused)

    assert any("revealed" in problem for problem in result.problems)
    assert any("changed the owner's data" in problem for problem in result.problems)
    assert any("returned 200" in problem for problem in result.problems)


def test_both_tenants_are_erased_after_an_error_too(operator: Api) -> None:
    def broken(method: str, path: str, body: Any, headers: Mapping[str, str]) -> tuple[int, str]:
        raise RuntimeError("the network is gone")

    with pytest.raises(RuntimeError):
        check.run(Caller.command(operator.tenant), broken)

    assert not Tenant.objects.filter(slug__startswith=check.PREFIX).exists()


def test_without_a_server_the_command_explains_how_to_continue(operator: Api) -> None:
    with pytest.raises(CommandError, match="start the server, or set --url"):
        call_command("isolation_check", "--url", f"http://127.0.0.1:{free_port()}")


@pytest.mark.server
@pytest.mark.once
def test_the_command_passes_on_a_running_server(tmp_path: Any) -> None:
    """The setting adds SomaFractalMemory's routes to the check."""
    with Server(tmp_path, SOMA_AUTH_FAILURE_RATE="0", SOMA_COMPAT_SOMAFRACTALMEMORY="true") as server:
        command = [sys.executable, str(ROOT / "manage.py"), "isolation_check"]
        result = subprocess.run(
            command, env=server.environment, capture_output=True, text=True, timeout=300, check=False
        )

    assert f" to {len(CASES) + len(compat_cases.CASES)} routes" in result.stdout, result.stdout + result.stderr
    assert "OK: no other tenant's or user's data was revealed or changed." in result.stdout, (
        result.stdout + result.stderr
    )
    assert result.returncode == 0
