"""`manage.py export_tenant SLUG > file.jsonl`: export all of a tenant's data."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

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
            descriptor = os.open(to, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    count = sum(1 for line in lines if file.write(line))
            except BaseException:  # such as KeyboardInterrupt; an incomplete file would make the next attempt fail
                to.unlink(missing_ok=True)
                raise
        self.stdout.write(f"Wrote {count - 2:,} rows to {to}.")
