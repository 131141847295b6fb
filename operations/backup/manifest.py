"""A backup's manifest: what the backup contains, and how to check that it is undamaged."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from somamemory.errors import InvalidInput
from somamemory.files import Progress, checksum

FILE_NAME = "manifest.json"

Tables = dict[str, dict[str, Any]]  # {table: {"rows": 3, "hash": "…"}}


@dataclass(frozen=True)
class Manifest:
    engine: str  # "sqlite" or "postgresql"
    server: str  # database version
    somamemory: str
    created_at: str
    migrations: list[str]
    file: str
    bytes: int
    sha256: str
    tables: Tables
    # Summaries of the files that the database refers to, by copier: see `backups.include`
    elsewhere: dict[str, Any] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        with (folder / FILE_NAME).open("w") as file:
            file.write(json.dumps(asdict(self), indent=2))
            file.flush()
            os.fsync(file.fileno())


def silent(phase: str, share: float) -> None:
    """Ignore progress reports."""


def read(folder: Path, progress: Progress = silent) -> Manifest:
    """Return a backup's manifest. Raises InvalidInput if the folder contains no backup or a damaged one."""
    try:
        manifest = Manifest(**json.loads((folder / FILE_NAME).read_text()))
        file = folder / Path(manifest.file).name
        damaged = file.stat().st_size != manifest.bytes or checksum(file, progress) != manifest.sha256
    except (OSError, ValueError, TypeError) as error:
        raise InvalidInput("folder", f"{folder} does not contain a backup: {error}") from None
    if damaged:
        raise InvalidInput(
            "folder", f"{file} is damaged: its content differs from what was written; use another backup"
        )
    return manifest


def compare(expected: Tables, actual: Tables) -> None:
    """Raise InvalidInput unless all tables have the same rows."""
    different = sorted(name for name in expected.keys() | actual.keys() if expected.get(name) != actual.get(name))
    if different:
        raise InvalidInput("folder", f"the restored tables differ from the manifest: {', '.join(different)}")
