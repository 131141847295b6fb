"""Run command lines in this process, against the test's application and database."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest
from django.core.signals import request_finished, request_started
from django.db import close_old_connections

from somamemory.cli import connection
from somamemory.cli.app import app
from somamemory.cli.errors import run
from somamemory.wsgi import application
from somamemory_client import Client
from somamemory_client._embedded import EmbeddedTransport
from tests.conftest import Api

VARIABLES = ("SOMA_URL", "SOMA_API_KEY", "SOMA_TENANT", "SOMA_PROFILE", "SOMA_DATA_DIR")


@dataclass
class Done:
    """The result of a command line."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def error(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.err)["error"]
        return found


Soma = Callable[..., Done]


@pytest.fixture
def bare(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Soma:
    """A command line without a service, with an empty home folder."""
    monkeypatch.setattr("sys.stdin", io.StringIO())
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(connection, "profile_file", lambda: tmp_path / "profiles.toml")

    def soma(*arguments: str) -> Done:
        capsys.readouterr()
        code = run(app, arguments)
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return Done(code, captured.out, captured.err)

    return soma


@pytest.fixture
def soma(bare: Soma, operator: Api, monkeypatch: pytest.MonkeyPatch) -> Iterator[Soma]:
    """A command line whose service is the test's application, with an operator's key."""
    transport = EmbeddedTransport(cast(Any, application))

    def connect(target: connection.Target) -> Client:
        return Client(api_key=target.api_key or operator.key, tenant=target.tenant, transport=transport, max_retries=0)

    monkeypatch.setattr(connection.Target, "connect", connect)
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)  # a server would close the test's connection after a request
    yield bare
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)
