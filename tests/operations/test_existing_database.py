"""Commands need an existing database: none of them creates a second, empty database."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection

from somamemory.errors import ConfigurationError
from somamemory.management import existing_database
from somamemory.settings import database


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Point the settings at a folder without a database, and return the path of the database file."""
    path = tmp_path / "somamemory.sqlite3"
    configured = {**settings.DATABASES["default"], "ENGINE": "somamemory.db.sqlite", "NAME": path}
    monkeypatch.setitem(settings.DATABASES, "default", configured)
    return path


@pytest.mark.parametrize("command", ["list_tenants", "rate_messages", "backup", "migrate_database", "upkeep"])
def test_a_command_names_the_missing_database_and_creates_none(elsewhere: Path, command: str) -> None:
    with pytest.raises(ConfigurationError, match=r"there is no database at .*set SOMA_DATA_DIR") as error:
        existing_database.require([command, "--tenant", "acme"])

    assert str(elsewhere) in str(error.value)
    assert not elsewhere.exists()


def test_the_check_of_a_missing_database_creates_none(elsewhere: Path) -> None:
    with pytest.raises(ConfigurationError, match="there is no database"):
        existing_database.require(["bootstrap", "--check"])
    assert not elsewhere.exists()


@pytest.mark.parametrize(
    "arguments", [[], ["bootstrap"], ["migrate"], ["serve"], ["mcp"], ["help"], ["backup", "--help"]]
)
def test_a_command_that_creates_the_database_or_needs_none_is_accepted(elsewhere: Path, arguments: list[str]) -> None:
    existing_database.require(arguments)


def test_a_command_before_the_first_migration_is_refused(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    existing_database.require(["list_tenants"])
    monkeypatch.setattr(connection.introspection, "table_names", lambda: [])
    with pytest.raises(ConfigurationError, match=r"is empty; .*manage.py bootstrap"):
        existing_database.require(["list_tenants"])


@pytest.mark.parametrize("url", ["nonsense", "http://host/name", "://", "postgres://u:p@host:notaport/name"])
def test_a_database_url_that_is_none_is_refused_with_the_reason(url: str) -> None:
    with pytest.raises(ConfigurationError, match="database URL"):
        database(url)
