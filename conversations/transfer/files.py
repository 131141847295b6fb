"""Open the files for an import without following symbolic links.

A link in a folder that others can write to could point to any file that the server can read. Each folder is opened
relative to its parent, so that a folder cannot be replaced by a link between the check and its use.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from conversations.transfer.formats.base import Broken

NOT_TEXT = (".json", ".jsonl", ".ndjson", ".zip")
SUFFIXES = (*NOT_TEXT, ".md", ".markdown", ".txt", ".text")
_LINK = "is a symbolic link, which an import does not follow; copy the file or folder itself"
# Opening a named pipe must not wait for a writer.
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True)
class OpenFile:
    """A regular file, open for reading, and its state when it was opened."""

    path: Path
    file: BinaryIO
    status: os.stat_result

    def has_changed(self) -> bool:
        """Return whether the file has been written to since it was opened."""
        now = os.fstat(self.file.fileno())
        return (now.st_size, now.st_mtime_ns) != (self.status.st_size, self.status.st_mtime_ns)


def files(path: Path) -> Iterator[OpenFile | Broken]:
    """Yield a file, or the files in a folder and its subfolders whose names end with one of SUFFIXES.

    Each file stays open until the next one is requested. Yields Broken for everything that cannot be opened safely.
    """
    if not path.is_dir() or path.is_symlink():
        yield from _opened(path, str(path), None)
        return
    for folder, subfolders, names, descriptor in os.fwalk(path):
        subfolders.sort()
        for name in subfolders:
            if stat.S_ISLNK(os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_mode):
                yield Broken(os.path.join(folder, name), _LINK)
        for name in sorted(names):
            if name.lower().endswith(SUFFIXES):
                yield from _opened(Path(folder, name), name, descriptor)


def _opened(path: Path, name: str, folder: int | None) -> Iterator[OpenFile | Broken]:
    try:
        with _regular(name, folder) as file:
            yield OpenFile(path, file, os.fstat(file.fileno()))
    except _Refused as refusal:
        yield Broken(str(path), str(refusal))


@contextmanager
def _regular(name: str, folder: int | None) -> Iterator[BinaryIO]:
    """Open a file. Raises _Refused if it is a symbolic link, is not a regular file, or cannot be opened."""
    try:
        descriptor = os.open(name, _FLAGS, dir_fd=folder)
    except OSError as error:
        raise _Refused(_LINK if error.errno == errno.ELOOP else f"cannot be opened: {error.strerror}") from None
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise _Refused("is not a regular file")
        yield file


class _Refused(Exception):
    """Raised for a file that is not safe to read. The message says why."""
