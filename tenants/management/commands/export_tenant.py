"""`manage.py export_tenant SLUG > file.jsonl`: export all of a tenant's data."""

from __future__ import annotations

import errno
import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from django.core.management.base import BaseCommand, CommandParser

from somamemory import files
from tenants import export
from tenants.management.command_line import errors_as_one_line, operator


class Command(BaseCommand):
    help = "Export all of a tenant's data as JSON lines. The last line contains the counts."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("slug", help="tenant slug")
        parser.add_argument("--to", type=Path, metavar="FILE", help="file to create; default: standard output")

    def handle(self, *args: Any, slug: str, to: Path | None, **options: Any) -> None:
        with errors_as_one_line():
            lines = export.lines(operator(), slug)
            if to is None:
                for line in lines:
                    sys.stdout.buffer.write(line)
                return
            with _created(to) as file:
                count = sum(1 for line in lines if file.write(line))
        self.stdout.write(f"Wrote {count - 2:,} rows to {to}.")


@contextmanager
def _created(to: Path) -> Iterator[BinaryIO]:
    """Create a file that appears only once it is complete, so that a retry after a crash does not find it."""
    partial = to.with_name(f"{to.name}.{secrets.token_hex(4)}.partial")
    _require_new(to)
    try:
        with partial.open("xb") as file:
            yield file
        files.sync(partial)
        _require_new(to)
        partial.rename(to)
    finally:
        partial.unlink(missing_ok=True)


def _require_new(file: Path) -> None:
    if file.exists():
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(file))
