"""Check the machine: packages, disk, permissions, clock. These checks do not need the database."""

from __future__ import annotations

import os
import resource
import shutil
import sqlite3
import stat
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from somamemory import installation
from somamemory.cli.doctor.finding import Finding, error, ok, warning

MIB = 1024 * 1024
LEAST_FREE, LITTLE_FREE = 200 * MIB, 2048 * MIB
LEAST_FILES = 1024
OLDEST_TIME = datetime(2026, 1, 1, tzinfo=UTC)
SQLITE = (3, 35, 0)
NETWORK_FILE_SYSTEMS = ("nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "ceph", "glusterfs")


def requirements() -> list[str]:
    """Return the requirements of the installed package or the checkout."""
    if installation.IS_BUNDLED:
        return [line for line in metadata.requires("somamemory") or [] if "extra ==" not in line]
    lines = (installation.HOME / "requirements" / "embedded.in").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def packages(required: list[str], version_of: Callable[[str], str] = metadata.version) -> Finding:
    """Compare the installed package versions with the required versions."""
    from packaging.requirements import Requirement

    wrong = []
    for requirement in map(Requirement, required):
        try:
            version = version_of(requirement.name)
        except metadata.PackageNotFoundError:
            wrong.append(f"{requirement.name} is missing")
        else:
            if version not in requirement.specifier:
                wrong.append(f"{requirement.name} {version} does not satisfy {requirement.specifier}")
    if wrong:
        return error(
            "packages", "; ".join(wrong), "install them again: pip install --upgrade --force-reinstall somamemory"
        )
    return ok("packages", f"{len(required)} packages have the required versions")


def sqlite(version: str, options: list[str]) -> Finding:
    if tuple(map(int, version.split("."))) < SQLITE:
        return error("sqlite", f"SQLite {version} is too old", "use a Python with SQLite 3.35 or newer")
    if "ENABLE_FTS5" not in options:
        return error("sqlite", "SQLite has no full-text search (FTS5)", "use a Python whose SQLite includes FTS5")
    return ok("sqlite", f"SQLite {version} with FTS5")


def sqlite_options() -> list[str]:
    with sqlite3.connect(":memory:") as connection:
        return [row[0] for row in connection.execute("PRAGMA compile_options")]


def disk(folder: Path, free: int) -> Finding:
    detail = f"{free / MIB:,.0f} MiB are free on the disk that contains {folder}"
    if free < LEAST_FREE:
        return error("disk", detail, "delete old backups, or enlarge the disk; writes fail when the disk is full")
    if free < LITTLE_FREE:
        return warning("disk", detail, "delete old backups, or enlarge the disk")
    return ok("disk", detail)


def file_system(folder: Path, mounts: str) -> Finding:
    """Reject SQLite on a network file system, where locks do not work.

    mounts: the text of /proc/mounts.
    """
    best, kind = "", ""
    for line in mounts.splitlines():
        _, where, found, *_ = line.split()
        if folder.is_relative_to(where) and len(where) >= len(best):
            best, kind = where, found
    if kind in NETWORK_FILE_SYSTEMS:
        return error(
            "file system", f"{folder} is on {kind}, where SQLite can lose data", "move the data folder to a local disk"
        )
    return ok("file system", kind or "unknown")


def permissions(folder: Path, user: int) -> Iterator[Finding]:
    """Check that only this user can access the files in the data folder."""
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        yield error("permissions", f"{folder} is not writable", f"run 'chown -R {user} {folder}' as root")
        return
    files = [entry for entry in os.scandir(folder) if entry.is_file(follow_symlinks=False)]
    foreign = [entry.name for entry in files if entry.stat().st_uid != user]
    open_files = [entry.name for entry in files if entry.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)]
    if foreign:
        yield error("permissions", f"other users own {', '.join(foreign)}", f"run 'chown -R {user} {folder}' as root")
    if open_files:
        yield error(
            "permissions", f"other users can read {', '.join(open_files)}", f"run 'chmod 600 {folder}/{open_files[0]}'"
        )
    if not foreign and not open_files:
        yield ok("permissions", "only this user can read the data")


def temporary_folder(folder: Path) -> Finding:
    if not os.access(folder, os.W_OK):
        return error("temporary folder", f"{folder} is not writable", "set TMPDIR to a writable folder")
    return ok("temporary folder", str(folder))


def clock(now: datetime, newest: datetime | None) -> Finding:
    """Compare the clock with the creation time of the newest API key, and with the earliest plausible time."""
    if now < OLDEST_TIME:
        return error("clock", f"the clock is set to {now:%Y-%m-%d}", "set the clock: timedatectl set-ntp true")
    if newest is not None and (newest - now).total_seconds() > 60:
        return error(
            "clock", f"the newest API key is from {newest:%Y-%m-%d %H:%M:%S}, which is in the future",
            "set the clock: timedatectl set-ntp true",
        )  # fmt: skip
    return ok("clock", f"{now:%Y-%m-%d %H:%M:%S} UTC")


def open_files(limit: int) -> Finding:
    if 0 <= limit < LEAST_FILES:
        return warning(
            "open files", f"the limit on open files and connections is {limit}", f"run 'ulimit -n {LEAST_FILES}' first"
        )
    return ok("open files", f"limit {limit}")


def findings(folder: Path, uses_sqlite: bool) -> Iterator[Finding]:
    yield packages(requirements())
    if uses_sqlite:
        yield sqlite(sqlite3.sqlite_version, sqlite_options())
        mounts = Path("/proc/mounts")
        yield file_system(folder, mounts.read_text() if mounts.exists() else "")
    yield disk(folder, shutil.disk_usage(folder).free)
    yield from permissions(folder, os.geteuid())
    yield temporary_folder(Path(tempfile.gettempdir()))
    yield open_files(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
