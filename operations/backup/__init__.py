"""Backups: one moment of the whole database in a folder, and the way back.

A folder holds the data (`database.sqlite3.gz`, or a dump of PostgreSQL in its custom format), the secret key where
SomaMemory made it, and `manifest.json`: versions, the checksum of the data, and for each table its rows and a hash
over all of them, taken in the same moment. The vector index is not in it: it is filled again from the vectors in the
database.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from django.conf import settings
from django.db import connection as default
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.loader import MigrationLoader
from django.utils import timezone

import somamemory
from somamemory import files
from somamemory.errors import Conflict, InvalidInput
from somamemory.files import Progress, checksum

MANIFEST, SECRET_KEY = "manifest.json", "secret-key"
_NAME = re.compile(r"soma-(\d{8}T\d{6}Z)")

Tables = dict[str, dict[str, Any]]  # {table: {"rows": 3, "hash": "…"}}


@dataclass(frozen=True)
class Manifest:
    engine: str  # "sqlite" or "postgresql"
    server: str  # its version
    somamemory: str
    created_at: str
    migrations: list[str]
    file: str
    bytes: int
    sha256: str
    tables: Tables
    elsewhere: dict[str, Any] = field(default_factory=dict)  # of what is kept in files: see `also`


class Engine(Protocol):
    """What a database needs to be put into a file and taken out again."""

    file_name: str

    def dump(self, connection: BaseDatabaseWrapper, file: Path, progress: Progress) -> Tables: ...

    def load(self, connection: BaseDatabaseWrapper, file: Path, progress: Progress) -> None:
        """Into an empty database."""

    def tables_in(self, connection: BaseDatabaseWrapper, file: Path, progress: Progress) -> Tables:
        """Restore it beside the database, and look."""

    def tables(self, connection: BaseDatabaseWrapper, progress: Progress) -> Tables: ...


class Copier(Protocol):
    """For what the database only names. Each gets a folder of its own in the backup."""

    def copy(self, to: Path, earlier: Path | None, since: datetime, progress: Progress) -> dict[str, Any]:
        """All that was needed at `since` or later; earlier: the same folder of the last backup. For the manifest."""

    def check(self, folder: Path, told: dict[str, Any], progress: Progress) -> None:
        """Raises InvalidInput where the folder is not what was written."""

    def bring_back(self, folder: Path, told: dict[str, Any], progress: Progress) -> None: ...


_others: dict[str, Copier] = {}


def also(name: str, copier: Copier) -> None:
    """`name`: of the folder, and in the manifest."""
    _others[name] = copier


def silent(phase: str, share: float) -> None:
    """For whoever wants to see no progress."""


def make(to: Path, progress: Progress = silent, connection: Any = default) -> Path:
    """A backup in a new folder below `to`. One that was broken off has another name, and is swept by the next.

    Raises Conflict while another one is made there.
    """
    to.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _alone_in(to):
        return _made(to, progress, connection)


@contextmanager
def _alone_in(to: Path) -> Iterator[None]:
    """Another backup's unfinished folder looks like one that was broken off. Raises Conflict while one is made."""
    descriptor = os.open(to, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise Conflict(f"another backup is being made in {to}") from None
    except OSError:  # a file system without locks
        pass
    try:
        yield
    finally:
        os.close(descriptor)


def _made(to: Path, progress: Progress, connection: Any) -> Path:
    now = timezone.now().astimezone(UTC)
    folder = to / f"soma-{now:%Y%m%dT%H%M%SZ}"
    for broken in to.glob("soma-*.partial"):
        shutil.rmtree(broken)
    earlier = max((path for path in to.iterdir() if _NAME.fullmatch(path.name)), default=None)
    partial = folder.with_name(folder.name + ".partial")
    partial.mkdir(mode=0o700)
    engine = engine_of(connection)
    file = partial / engine.file_name
    tables = engine.dump(connection, file, progress)
    elsewhere = {
        name: copier.copy(partial / name, earlier and earlier / name, now, progress) for name, copier in _others.items()
    }
    if settings.SECRET_KEY_IS_MADE:
        shutil.copy2(Path(settings.DATA_DIR) / SECRET_KEY, partial / SECRET_KEY)
    manifest = Manifest(
        engine=connection.vendor,
        server=".".join(map(str, connection.get_database_version())),
        somamemory=somamemory.__version__,
        created_at=now.isoformat(timespec="seconds"),
        migrations=sorted(f"{app}.{name}" for app, name in MigrationLoader(connection).applied_migrations),
        file=file.name,
        bytes=file.stat().st_size,
        sha256=checksum(file, progress),
        tables=tables,
        elsewhere=elsewhere,
    )
    _write(partial / MANIFEST, json.dumps(asdict(manifest), indent=2))
    files.sync(file)
    files.sync(partial)
    partial.rename(folder)
    files.sync(to)
    return folder


def restore(folder: Path, progress: Progress = silent, connection: Any = default) -> Manifest:
    """Bring a backup into an empty database. Raises InvalidInput for a damaged backup, Conflict where something is.

    The index is filled from the vectors by whoever drains the outbox next, into new collections.
    """
    manifest = read(folder, progress)
    if manifest.engine != connection.vendor:
        raise InvalidInput("folder", f"this is a backup of {manifest.engine}, and the settings say {connection.vendor}")
    unknown = set(manifest.migrations) - _known_migrations(connection)
    if unknown:
        raise InvalidInput("folder", f"made by a newer version of SomaMemory: {', '.join(sorted(unknown))}")
    if is_used(connection):
        raise Conflict("the database is not empty; a backup is restored into an empty place only")
    _check_others(folder, manifest, progress)
    for name, copier in _others.items():  # before anything in the database names them
        copier.bring_back(folder / name, manifest.elsewhere.get(name, {}), progress)
    engine = engine_of(connection)
    engine.load(connection, folder / manifest.file, progress)
    _compare(manifest.tables, engine.tables(connection, progress))
    _renew_index(connection)
    if (folder / SECRET_KEY).is_file() and settings.SECRET_KEY_IS_MADE:
        shutil.copy2(folder / SECRET_KEY, Path(settings.DATA_DIR) / SECRET_KEY)
    return manifest


def verify(folder: Path, progress: Progress = silent, connection: Any = default) -> Manifest:
    """Restore it beside the live database and compare every row. Raises InvalidInput for a damaged backup."""
    manifest = read(folder, progress)
    if manifest.engine != connection.vendor:
        raise InvalidInput("folder", f"this is a backup of {manifest.engine}, and the settings say {connection.vendor}")
    _check_others(folder, manifest, progress)
    _compare(manifest.tables, engine_of(connection).tables_in(connection, folder / manifest.file, progress))
    return manifest


def sweep(to: Path, keep_days: int) -> list[str]:
    """Remove backups older than that, but never the newest; their names."""
    found = sorted(path for path in to.iterdir() if _NAME.fullmatch(path.name) and (path / MANIFEST).is_file())
    before = timezone.now() - timedelta(days=keep_days)
    old = [path for path in found[:-1] if _made_at(path) < before]
    for path in old:
        shutil.rmtree(path)
    return [path.name for path in old]


def read(folder: Path, progress: Progress = silent) -> Manifest:
    """The manifest, if the data is as it was written. Raises InvalidInput."""
    try:
        manifest = Manifest(**json.loads((folder / MANIFEST).read_text()))
        file = folder / Path(manifest.file).name
        damaged = file.stat().st_size != manifest.bytes or checksum(file, progress) != manifest.sha256
    except (OSError, ValueError, TypeError) as error:
        raise InvalidInput("folder", f"{folder} is no backup: {error}") from None
    if damaged:
        raise InvalidInput("folder", f"{file} is damaged: it is not what was written")
    return manifest


def engine_of(connection: BaseDatabaseWrapper) -> Engine:
    if connection.vendor == "postgresql":
        from operations.backup.postgresql import PostgreSQL

        return PostgreSQL()
    from operations.backup.sqlite import SQLite

    return SQLite()


def is_used(connection: BaseDatabaseWrapper) -> bool:
    with connection.cursor() as cursor:
        return any(name.startswith("sfm_") for name in connection.introspection.table_names(cursor))


def _check_others(folder: Path, manifest: Manifest, progress: Progress) -> None:
    for name, copier in _others.items():
        copier.check(folder / name, manifest.elsewhere.get(name, {}), progress)


def _compare(expected: Tables, found: Tables) -> None:
    different = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
    if different:
        raise InvalidInput("folder", f"the restored tables differ from the manifest: {', '.join(different)}")


def _renew_index(connection: BaseDatabaseWrapper) -> None:
    """Let the index be filled anew, into collections that nobody else has: an older index may still be there."""
    now = connection.ops.adapt_datetimefield_value(timezone.now())
    with connection.cursor() as cursor:
        cursor.execute("SELECT id FROM sfm_embedding_generations")
        for (id,) in cursor.fetchall():
            collection = f"{settings.MILVUS_PREFIX}_{uuid.uuid4().hex[:12]}"
            cursor.execute("UPDATE sfm_embedding_generations SET collection = %s WHERE id = %s", [collection, id])
        cursor.execute(
            "UPDATE sfm_vector_embeddings SET indexed_version = NULL, due_at = %s, lease = NULL, lease_until = NULL, "
            "attempts = 0, error = ''",
            [now],
        )


def _known_migrations(connection: BaseDatabaseWrapper) -> set[str]:
    return {f"{app}.{name}" for app, name in MigrationLoader(None).disk_migrations}


def _made_at(folder: Path) -> datetime:
    return datetime.strptime(folder.name, "soma-%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)


def _write(path: Path, text: str) -> None:
    with path.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
