"""A template: a migrated database that is copied for each test database.

The migrations take 3 s of CPU time. scripts/test.sh runs them once per stage and names the result in
SOMA_TEST_TEMPLATE: the path to an SQLite file, or the name of a PostgreSQL database. Without that variable, every
database starts empty.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NAME = os.environ.get("SOMA_TEST_TEMPLATE", "")
# A migration signs the progress of the audit log, so each copy needs the template's key.
AUDIT_KEY = "the key that signs the audit log of the template and its copies"


def of_sqlite() -> Path | None:
    return Path(NAME) if "/" in NAME else None


def of_postgresql(database_url: str) -> str:
    """Return the template's name if the template is on the same server as this database, otherwise ""."""
    tests = os.environ.get("SOMA_DATABASE_URL", "")
    same_server = tests.rpartition("/")[0] == database_url.rpartition("/")[0]
    return NAME if same_server and "/" not in NAME else ""


def environment() -> dict[str, str]:
    """Return the settings that a copy of the template needs."""
    return {"SOMA_AUDIT_KEY": AUDIT_KEY} if NAME else {}


def copy_sqlite(to: Path) -> None:
    """Copy the template, if there is one, to this path. No process may have a database open there."""
    if template := of_sqlite():
        shutil.copyfile(template, to)


def copy_clause(database_url: str) -> str:
    """Return the end of a CREATE DATABASE statement that copies the template, or "" if there is no template."""
    name = of_postgresql(database_url)
    return f" TEMPLATE {name}" if name else ""


@contextmanager
def unused() -> Iterator[None]:
    """Ignore the template while this context is active, for tests of the first start with an empty database."""
    global NAME
    before, NAME = NAME, ""
    try:
        yield
    finally:
        NAME = before
