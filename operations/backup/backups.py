"""Create, verify and restore backups, and delete old ones."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from django.conf import settings
from django.db import connection as default
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.loader import MigrationLoader
from django.utils import timezone

import somamemory
from operations.backup import manifest as manifests
from operations.backup.engines import engine_of
from operations.backup.manifest import Manifest, Tables, silent
from somamemory import failpoints, files
from somamemory.db.databases import remove_timeouts
from somamemory.errors import Conflict, InvalidInput
from somamemory.files import Progress, checksum

SECRET_KEY = "secret-key"  # noqa: S105 - a file name
# Tables that a restore changes, so that the index is filled again.
RENEWED = frozenset({"sfm_vector_embeddings", "sfm_embedding_generations"})
_UNFINISHED = "restore-unfinished"  # a file that exists while a backup is being restored
_NAME = re.compile(r"soma-(\d{8}T\d{6}Z)")


class FileCopier(Protocol):
    """Copies files that the database references to a separate folder in the backup, and checks and restores them."""

    def copy(self, to: Path, earlier: Path | None, since: datetime, progress: Progress) -> dict[str, Any]:
        """Copy all files that were needed at `since` or later, and return a summary for the manifest.

        earlier: the copier's folder in the previous backup, or None if there is no previous backup.
        """

    def check(self, folder: Path, summary: dict[str, Any], progress: Progress) -> None:
        """Raise InvalidInput unless the folder contains the files that were copied, as described by `summary`."""

    def bring_back(self, folder: Path, summary: dict[str, Any], progress: Progress) -> None: ...


_copiers: dict[str, FileCopier] = {}


def include(name: str, copier: FileCopier) -> None:
    """Include `copier` in every backup. `name` is the name of the copier's folder and manifest entry."""
    _copiers[name] = copier


def create(to: Path, progress: Progress = silent, connection: Any = default) -> Path:
    """Create a backup in a new folder in `to`, and return that folder.

    A failed backup is removed immediately, and an interrupted one by the next backup. Raises Conflict while another
    backup is being created.
    """
    to.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _locked(to):
        return _create(to, progress, connection)


def verify(folder: Path, progress: Progress = silent, connection: Any = default) -> Manifest:
    """Restore a backup alongside the live database and compare every table with the manifest.

    Raises InvalidInput if the backup is damaged.
    """
    manifest = manifests.read(folder, progress)
    _require_engine(manifest, connection)
    _check_files(folder, manifest, progress)
    restored = engine_of(connection).tables_in(connection, folder / manifest.file, progress)
    manifests.compare(manifest.tables, restored)
    return manifest


def restore(
    folder: Path,
    progress: Progress = silent,
    connection: Any = default,
    migrate: Callable[[], object] = lambda: None,
) -> Manifest:
    """Restore a backup into an empty database.

    The next drain fills new collections of the vector index from the vectors in the database. An interrupted restore
    can be repeated. Raises InvalidInput if the backup is damaged, and Conflict if the database is not empty.

    migrate: applies the migrations that have been added since the backup.
    """
    manifest = manifests.read(folder, progress)
    _require_engine(manifest, connection)
    if unknown := set(manifest.migrations) - _known_migrations():
        names = ", ".join(sorted(unknown))
        raise InvalidInput(
            "folder", f"was created by a newer version of SomaMemory, with the migrations {names}; install that version"
        )
    engine = engine_of(connection)
    unfinished, is_loaded = Path(settings.DATA_DIR) / _UNFINISHED, is_used(connection)
    if is_loaded:
        if unfinished.exists() and _applied(connection) > set(manifest.migrations):
            raise Conflict(
                "the backup has been restored, but not all migrations have been applied; start the service, which "
                "applies them"
            )
        if not (unfinished.exists() and _unchanged(engine.tables(connection, progress)) == _unchanged(manifest.tables)):
            raise Conflict("the database is not empty; restore the backup into an empty database")
    _check_files(folder, manifest, progress)
    for name, copier in _copiers.items():  # restore the files before anything in the database refers to them
        copier.bring_back(folder / name, manifest.elsewhere.get(name, {}), progress)
    if not is_loaded:
        unfinished.touch()
        engine.load(connection, folder / manifest.file, progress)
        manifests.compare(manifest.tables, engine.tables(connection, progress))
    if (folder / SECRET_KEY).is_file() and settings.SECRET_KEY_IS_MADE:
        shutil.copy2(folder / SECRET_KEY, Path(settings.DATA_DIR) / SECRET_KEY)
    _use_new_collections(connection)
    migrate()  # last: afterwards, the tables differ from the backup
    unfinished.unlink()
    return manifest


def delete_old(to: Path, keep_days: int) -> list[str]:
    """Delete backups older than `keep_days` days, but never the newest. Return their names."""
    backups = sorted(path for path in to.iterdir() if _is_backup(path) and (path / manifests.FILE_NAME).is_file())
    before = timezone.now() - timedelta(days=keep_days)
    old = [path for path in backups[:-1] if _created_at(path) < before]
    for path in old:
        shutil.rmtree(path)
    return [path.name for path in old]


@dataclass(frozen=True)
class Latest:
    name: str
    created_at: datetime


def latest(to: Path) -> Latest | None:
    """Return the newest complete backup, without reading its content, or None if there is none."""
    try:
        newest = max((path for path in to.iterdir() if _is_backup(path)), key=lambda path: path.name, default=None)
    except OSError:  # the folder does not exist or cannot be read
        return None
    return None if newest is None else Latest(newest.name, _created_at(newest))


def is_used(connection: BaseDatabaseWrapper) -> bool:
    with connection.cursor() as cursor:
        return any(name.startswith("sfm_") for name in connection.introspection.table_names(cursor))


@contextmanager
def _locked(to: Path) -> Iterator[None]:
    """Lock the folder, so that a running backup is not mistaken for an interrupted one and removed.

    Raises Conflict if another backup is running.
    """
    descriptor = os.open(to, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise Conflict(f"another backup is being created in {to}; wait until it has finished") from None
    except OSError:  # the file system does not support locks
        pass
    try:
        yield
    finally:
        os.close(descriptor)


def _create(to: Path, progress: Progress, connection: Any) -> Path:
    now = timezone.now().astimezone(UTC)
    folder = to / f"soma-{now:%Y%m%dT%H%M%SZ}"
    for interrupted in to.glob("soma-*.partial"):
        shutil.rmtree(interrupted)
    earlier = max(filter(_is_backup, to.iterdir()), default=None)
    partial = folder.with_name(folder.name + ".partial")
    partial.mkdir(mode=0o700)
    try:
        _write_content(partial, earlier, now, progress, connection)
        files.sync(partial)
    except BaseException:  # such as KeyboardInterrupt; the files may have filled the disk that the database needs
        shutil.rmtree(partial, ignore_errors=True)
        raise
    failpoints.reach("backup.synced")
    partial.rename(folder)
    failpoints.reach("backup.renamed")
    files.sync(to)
    return folder


def _write_content(partial: Path, earlier: Path | None, now: datetime, progress: Progress, connection: Any) -> None:
    engine = engine_of(connection)
    file = partial / engine.file_name
    tables = engine.dump(connection, file, progress)
    failpoints.reach("backup.dumped")
    elsewhere = {
        name: copier.copy(partial / name, earlier and earlier / name, now, progress)
        for name, copier in _copiers.items()
    }
    failpoints.reach("backup.copied")
    if settings.SECRET_KEY_IS_MADE and settings.SECRET_KEY != settings.AUDIT_KEY:
        # The key that signs the audit log is never included: with it, a stolen backup could be used to forge the log.
        shutil.copy2(Path(settings.DATA_DIR) / SECRET_KEY, partial / SECRET_KEY)
    Manifest(
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
    ).write(partial)
    failpoints.reach("backup.described")
    files.sync(file)


def _require_engine(manifest: Manifest, connection: BaseDatabaseWrapper) -> None:
    if manifest.engine != connection.vendor:
        raise InvalidInput(
            "folder",
            f"is a backup of a {manifest.engine} database, but the settings specify a {connection.vendor} database; "
            "set SOMA_DATABASE_URL to an empty database of the same kind",
        )


def _unchanged(tables: Tables) -> Tables:
    return {name: content for name, content in tables.items() if name not in RENEWED}


def _check_files(folder: Path, manifest: Manifest, progress: Progress) -> None:
    for name, copier in _copiers.items():
        copier.check(folder / name, manifest.elsewhere.get(name, {}), progress)


def _use_new_collections(connection: BaseDatabaseWrapper) -> None:
    """Make the drain fill new collections. The old ones may still contain an index from before the restore."""
    now = connection.ops.adapt_datetimefield_value(timezone.now())
    with closing(connection.copy()) as session, session.cursor() as cursor:
        remove_timeouts(session)
        cursor.execute("BEGIN")
        cursor.execute("SELECT id FROM sfm_embedding_generations")
        for (id,) in cursor.fetchall():
            collection = f"{settings.MILVUS_PREFIX}_{uuid.uuid4().hex[:12]}"
            cursor.execute("UPDATE sfm_embedding_generations SET collection = %s WHERE id = %s", [collection, id])
        cursor.execute(
            "UPDATE sfm_vector_embeddings SET indexed_version = NULL, due_at = %s, lease = NULL, lease_until = NULL, "
            "attempts = 0, error = ''",
            [now],
        )
        cursor.execute("COMMIT")


def _applied(connection: BaseDatabaseWrapper) -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT app, name FROM django_migrations")
        return {f"{app}.{name}" for app, name in cursor.fetchall()}


def _known_migrations() -> set[str]:
    return {f"{app}.{name}" for app, name in MigrationLoader(None).disk_migrations}


def _is_backup(path: Path) -> bool:
    return _NAME.fullmatch(path.name) is not None


def _created_at(folder: Path) -> datetime:
    return datetime.strptime(folder.name, "soma-%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
