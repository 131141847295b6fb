"""Checksums, files that must survive a power failure, private files, and memory-mapped files."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path

# Reports the progress of a phase: its name, and the completed fraction from 0 to 1.
Progress = Callable[[str, float], None]
_CHUNK = 1 << 20
_SHARED_MEMORY = "/dev/shm"  # noqa: S108 - `mkdtemp` creates a private folder in it
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def create_privately() -> None:
    """Let only the owner read the files and folders that this process and its children create.

    Every process calls this first: commands, the server and the workers. SQLite gives its -wal and -shm files the mode
    of the database file.
    """
    os.umask(_OTHERS)


def make_private(folder: Path) -> list[str]:
    """Remove other users' access to our own files in `folder`, but not in its subfolders. Return their names.

    Earlier versions created them with the shell's umask. Folders keep their mode, because it may be deliberate.
    """
    changed = []
    for entry in os.scandir(folder):
        if not entry.is_file(follow_symlinks=False):
            continue
        status = entry.stat(follow_symlinks=False)
        if status.st_uid == os.geteuid() and status.st_mode & _OTHERS:
            os.chmod(entry.path, stat.S_IMODE(status.st_mode) & ~_OTHERS)
            changed.append(entry.name)
    return changed


def mapped_folder(prefix: str) -> str:
    """Create a folder for memory-mapped files, and remove such folders left behind by killed processes.

    The folder is in memory if possible, because writing to a mapped file on a full disk ends the process with SIGBUS.
    The folder is in use as long as this process, or one that it has forked, is running.
    """
    parent = _SHARED_MEMORY if os.access(_SHARED_MEMORY, os.W_OK | os.X_OK) else tempfile.gettempdir()
    for folder in Path(parent).glob(f"{prefix}*"):
        _remove_if_unused(folder)
    while True:
        made = tempfile.mkdtemp(prefix=prefix, dir=parent)
        descriptor = os.open(made, os.O_RDONLY)  # kept open to hold the lock
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        if os.path.exists(made):  # otherwise, another process has removed it before it was locked
            return made
        os.close(descriptor)


def _remove_if_unused(folder: Path) -> None:
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:  # it belongs to another user, or another process has just removed it
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    except BlockingIOError:
        pass  # in use
    finally:
        os.close(descriptor)


def sync(path: Path) -> None:
    """Flush a file, or the entries of a folder, to disk, so that they survive a power failure."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def checksum(file: Path, progress: Progress) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    digest, size, done = hashlib.sha256(), file.stat().st_size, 0
    with file.open("rb") as opened:
        while chunk := opened.read(_CHUNK):
            digest.update(chunk)
            done += len(chunk)
            progress("checksum", done / size)
    return digest.hexdigest()
