"""PostgreSQL: run pg_dump and pg_restore, and compute hashes from the same snapshot as the dump."""

from __future__ import annotations

import hashlib
import re
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from django.db import ProgrammingError
from django.db.backends.base.base import BaseDatabaseWrapper

from operations.backup.manifest import Tables
from somamemory.db import sqlstate, vector_tables
from somamemory.db.databases import drop, remove_timeouts
from somamemory.errors import ConfigurationError, InvalidInput
from somamemory.files import Progress

_POLICY = re.compile(r"^\d+; \d+ \d+ (?:POLICY|ROW SECURITY) ")
# Only the vector tables use this extension. Backups leave these tables out, because the drain refills them.
_EXTENSION = re.compile(rf"^\d+; \d+ \d+ (?:EXTENSION|COMMENT) .*\b{vector_tables.EXTENSION}\b")


class PostgreSQL:
    file_name = "database.dump"

    def dump(self, connection: BaseDatabaseWrapper, file: Path, progress: Progress) -> Tables:
        with _session(connection) as session, session.cursor() as cursor:
            cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            cursor.execute("SELECT pg_export_snapshot()")
            snapshot = cursor.fetchone()[0]
            # This role sees every row despite row-level security, but pg_dump does not rely on that by default.
            options = ["--format=custom", "--compress=3", "--no-owner", "--no-privileges", "--enable-row-security"]
            options += [f"--snapshot={snapshot}", f"--exclude-table={vector_tables.PATTERN}"]
            with _started("pg_dump", connection, [*options, f"--file={file}"]) as dump:
                tables = _tables(session, progress)
                _wait(dump, progress)
            cursor.execute("ROLLBACK")
        return tables

    def load(self, connection: BaseDatabaseWrapper, file: Path, progress: Progress) -> None:
        options = ["--no-owner", "--no-privileges", "--exit-on-error", "--single-transaction"]
        name = connection.settings_dict["NAME"]
        with tempfile.NamedTemporaryFile("w") as content:
            content.write(_contents(connection, file))
            content.flush()
            options += [f"--use-list={content.name}", f"--dbname={name}"]
            with _started("pg_restore", connection, [*options, str(file)]) as load:
                _wait(load, progress)

    def tables_in(self, connection: BaseDatabaseWrapper, file: Path, progress: Progress) -> Tables:
        name = f"soma_verify_{secrets.token_hex(6)}"
        with _session(connection) as session, session.cursor() as cursor:
            try:
                cursor.execute(f"CREATE DATABASE {name}")
            except ProgrammingError as error:
                if sqlstate.of(error) != sqlstate.INSUFFICIENT_PRIVILEGE:
                    raise
                user = connection.settings_dict["USER"]
                raise ConfigurationError(
                    "verification needs a temporary database, which the database role is not allowed to create; as a "
                    f'superuser, run: ALTER ROLE "{user}" CREATEDB'
                ) from None
            restored = _connection_to(connection, name)
            try:
                self.load(restored, file, progress)
                return self.tables(restored, progress)
            finally:
                restored.close()
                drop(cursor.execute, name)

    def tables(self, connection: BaseDatabaseWrapper, progress: Progress) -> Tables:
        with _session(connection) as session:
            return _tables(session, progress)


def _contents(connection: BaseDatabaseWrapper, file: Path) -> str:
    """Return a dump's table of contents without entries that the server may not support.

    The omitted entries are for row-level security and pgvector. `bootstrap` and the first use of the index add them.
    """
    command = [_program("pg_restore", connection), "--list", str(file)]
    entries = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - a PostgreSQL program
    if entries.returncode:
        raise InvalidInput("folder", f"pg_restore failed: {entries.stderr.strip()[-500:]}")
    left_out = (_POLICY, _EXTENSION)
    lines = entries.stdout.splitlines(keepends=True)
    return "".join(line for line in lines if not any(pattern.search(line) for pattern in left_out))


@contextmanager
def _session(connection: BaseDatabaseWrapper) -> Iterator[BaseDatabaseWrapper]:
    """Open a separate connection without timeouts."""
    session = _connection_to(connection, str(connection.settings_dict["NAME"]))
    with closing(session):
        remove_timeouts(session)
        with session.cursor() as cursor:
            cursor.execute("SET timezone = 'UTC'")
        yield session


def _connection_to(connection: BaseDatabaseWrapper, name: str) -> BaseDatabaseWrapper:
    other = connection.copy()
    other.settings_dict = {**connection.settings_dict, "NAME": name}
    return other


def _tables(session: BaseDatabaseWrapper, progress: Progress) -> Tables:
    """Return each table's row count and the SHA-256 of its row hashes, in primary key order.

    The hashes are streamed, because PostgreSQL cannot concatenate the hashes of more than 16 million rows (1 GB).
    """
    found: Tables = {}
    with session.cursor() as cursor:
        names = sorted(set(session.introspection.table_names(cursor)) - set(vector_tables.names(session)))
        for at, name in enumerate(names, start=1):
            key = session.introspection.get_primary_key_column(cursor, name) or "1"
            row = "encode(sha256(convert_to(t::text, 'UTF8')), 'hex')"
            digest, rows = hashlib.sha256(), 0
            copy = f'COPY (SELECT {row} FROM "{name}" t ORDER BY {key}) TO STDOUT'  # noqa: S608
            with session.wrap_database_errors, cursor.copy(copy) as lines:
                for line in lines:
                    digest.update(bytes(line).rstrip(b"\n"))
                    rows += 1
            found[name] = {"rows": rows, "hash": digest.hexdigest()}
            progress("hash", at / len(names))
    return found


@contextmanager
def _started(program: str, connection: BaseDatabaseWrapper, options: list[str]) -> Iterator[subprocess.Popen[str]]:
    """Start a program, and end it when the context ends. Other users cannot see the password in its environment."""
    config: dict[str, Any] = connection.settings_dict
    environment = {
        "PGHOST": config.get("HOST"),
        "PGPORT": config.get("PORT"),
        "PGUSER": config.get("USER"),
        "PGPASSWORD": config.get("PASSWORD"),
        "PGDATABASE": config.get("NAME"),
        **{
            f"PG{name.upper()}": config["OPTIONS"].get(name) for name in ("sslmode", "sslrootcert", "sslcert", "sslkey")
        },
    }
    with subprocess.Popen(  # noqa: S603 - a PostgreSQL program
        [_program(program, connection), *options],
        env={name: str(value) for name, value in environment.items() if value},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        try:
            yield running
        finally:
            running.kill()  # has no effect if it has ended


def _wait(running: subprocess.Popen[str], progress: Progress) -> None:
    name = Path(str(running.args[0])).name  # type: ignore[index]
    began = time.monotonic()
    while True:
        try:
            _, errors = running.communicate(timeout=1)
            break
        except subprocess.TimeoutExpired:
            progress(f"{name}, {time.monotonic() - began:.0f} s", 0)
    if running.returncode:
        raise InvalidInput("folder", f"{name} failed: {errors.strip()[-500:]}")
    progress(name, 1)


def _program(name: str, connection: BaseDatabaseWrapper) -> str:
    """Return the path to a PostgreSQL program. Raises ConfigurationError if none is at least as new as the server."""
    server: int = connection.pg_version // 10_000  # type: ignore[attr-defined]
    installed = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=_major, reverse=True)
    for path in [*map(str, installed), *filter(None, [shutil.which(name)])]:
        output = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout  # noqa: S603
        version = re.search(r"(\d+)", output)
        if version and int(version[1]) >= server:
            return path
    raise ConfigurationError(f"{name} {server} or newer is required; install PostgreSQL's client programs")


def _major(path: Path) -> int:
    name = path.parent.parent.name
    return int(name) if name.isdigit() else 0
