"""SQLite: make a copy with the online backup API, and compute hashes from the copy."""

from __future__ import annotations

import gzip
import hashlib
import shutil
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

from django.db.backends.base.base import BaseDatabaseWrapper

from operations.backup.manifest import Tables
from somamemory.errors import InvalidInput
from somamemory.files import Progress

PAGES = 4_000  # per step
# The full-text index can be rebuilt from the memories' words.
_TABLES = (
    "SELECT name FROM sqlite_master "
    "WHERE type = 'table' AND name NOT LIKE 'sqlite%' AND name NOT LIKE 'sfm_memory_terms%'"
)


class SQLite:
    file_name = "database.sqlite3.gz"

    def dump(self, connection: BaseDatabaseWrapper, file: Path, progress: Progress) -> Tables:
        copy = file.with_suffix("")
        with (
            connection.wrap_database_errors,
            closing(sqlite3.connect(_path(connection))) as source,
            closing(sqlite3.connect(copy)) as target,
        ):
            # Use one snapshot for all steps. Otherwise, each write by another process would restart the copy.
            source.execute("BEGIN")
            source.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
            source.backup(
                target, pages=PAGES, progress=lambda _, left, all: progress("copy", (all - left) / max(1, all)), sleep=0
            )
            source.rollback()
            target.execute("PRAGMA journal_mode = DELETE")
            tables = _tables(target, progress)
        with copy.open("rb") as opened, gzip.open(file, "wb", compresslevel=3) as packed:
            size, done = copy.stat().st_size, 0
            while chunk := opened.read(1 << 20):
                packed.write(chunk)
                done += len(chunk)
                progress("compress", done / size)
        copy.unlink()
        return tables

    def load(self, connection: BaseDatabaseWrapper, file: Path, progress: Progress) -> None:
        connection.close()
        path = _path(connection)
        partial = path.with_name(path.name + ".partial")
        _unpack(file, partial, progress)
        for leftover in ("-wal", "-shm"):  # from the empty database
            path.with_name(path.name + leftover).unlink(missing_ok=True)
        partial.replace(path)

    def tables_in(self, connection: BaseDatabaseWrapper, file: Path, progress: Progress) -> Tables:
        with tempfile.TemporaryDirectory(dir=file.parent) as folder:
            copy = Path(folder) / "database.sqlite3"
            _unpack(file, copy, progress)
            with connection.wrap_database_errors, closing(sqlite3.connect(copy)) as opened:
                if (found := opened.execute("PRAGMA integrity_check").fetchone()[0]) != "ok":
                    raise InvalidInput(
                        "folder", f"contains a damaged SQLite database ({found[:200]}); use another backup"
                    )
                return _tables(opened, progress)

    def tables(self, connection: BaseDatabaseWrapper, progress: Progress) -> Tables:
        with connection.wrap_database_errors, closing(sqlite3.connect(_path(connection))) as opened:
            return _tables(opened, progress)


def _tables(opened: sqlite3.Connection, progress: Progress) -> Tables:
    names = sorted(row[0] for row in opened.execute(_TABLES))
    found: Tables = {}
    for at, name in enumerate(names, start=1):
        digest, rows = hashlib.sha256(), 0
        for row in opened.execute(f'SELECT * FROM "{name}" ORDER BY 1'):  # noqa: S608 - a name from the database itself
            digest.update(repr(row).encode())
            rows += 1
        found[name] = {"rows": rows, "hash": digest.hexdigest()}
        progress("hash", at / len(names))
    return found


def _unpack(file: Path, to: Path, progress: Progress) -> None:
    progress("unpack", 0)
    with gzip.open(file, "rb") as packed, to.open("wb") as opened:
        shutil.copyfileobj(packed, opened, 1 << 20)
    progress("unpack", 1)


def _path(connection: BaseDatabaseWrapper) -> Path:
    return Path(str(connection.settings_dict["NAME"]))
