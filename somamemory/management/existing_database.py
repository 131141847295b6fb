"""Reject a command that would create an empty database, or that runs before the first migration."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import django
from django.conf import settings
from django.db import DatabaseError, connection

from somamemory.errors import ConfigurationError
from somamemory.installation import COMMAND

# Commands that create the database, or do not use it.
_NEED_NONE = frozenset(
    (
        "bootstrap",
        "migrate",
        "serve",
        "mcp",
        "restore",
        "test",
        "help",
        "version",
        "check",
        "makemigrations",
        "collectstatic",
    )
)
_CREATE_ONE = f"or create a database with '{COMMAND} bootstrap'"


def require(arguments: Sequence[str]) -> None:
    """Raise ConfigurationError if the command needs a database that is missing, empty or unreadable."""
    command = next(iter(arguments), "help")
    if command.startswith("-") or "--help" in arguments or "-h" in arguments:
        return
    if command not in _NEED_NONE:
        _refuse_missing_file()
        _refuse_missing_tables()
    elif list(arguments) == ["bootstrap", "--check"]:
        _refuse_missing_file()


def _refuse_missing_file() -> None:
    path = settings.DATABASES["default"]["NAME"]
    if settings.DATABASES["default"]["ENGINE"] == "somamemory.db.sqlite" and not Path(path).exists():
        raise ConfigurationError(
            f"there is no database at {path}; set SOMA_DATA_DIR (currently {settings.DATA_DIR}) or SOMA_DATABASE_URL "
            f"to the server's value, {_CREATE_ONE}"
        )


def _refuse_missing_tables() -> None:
    django.setup()
    try:
        tables = connection.introspection.table_names()
    except DatabaseError as error:
        raise ConfigurationError(f"the database could not be read: {str(error).strip()}") from None
    finally:
        connection.close()
    if "sfm_tenants" not in tables:
        name = connection.settings_dict["NAME"]
        raise ConfigurationError(
            f"the database {name} is empty; set SOMA_DATA_DIR (currently {settings.DATA_DIR}) or SOMA_DATABASE_URL "
            f"to the server's value, {_CREATE_ONE}"
        )
