"""Checksums, and files that must survive a power failure."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

# Reports the progress of a phase: its name, and the completed share from 0 to 1.
Progress = Callable[[str, float], None]
_CHUNK = 1 << 20


def sync(path: Path) -> None:
    """Return once the contents of a file, or the names in a folder, would survive a power failure. Raises OSError."""
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
