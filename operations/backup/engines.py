"""Dump a database to a file, and load it again. There is one implementation per database engine."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from django.db.backends.base.base import BaseDatabaseWrapper

from operations.backup.manifest import Tables
from operations.backup.postgresql import PostgreSQL
from operations.backup.sqlite import SQLite
from somamemory.files import Progress


class Engine(Protocol):
    file_name: str

    def dump(self, connection: BaseDatabaseWrapper, file: Path, progress: Progress) -> Tables: ...

    def load(self, connection: BaseDatabaseWrapper, file: Path, progress: Progress) -> None:
        """Load the file into an empty database."""

    def tables_in(self, connection: BaseDatabaseWrapper, file: Path, progress: Progress) -> Tables:
        """Restore the file alongside the live database, and return the row count and hash of each restored table."""

    def tables(self, connection: BaseDatabaseWrapper, progress: Progress) -> Tables: ...


def engine_of(connection: BaseDatabaseWrapper) -> Engine:
    return PostgreSQL() if connection.vendor == "postgresql" else SQLite()
