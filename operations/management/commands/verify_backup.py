"""`manage.py verify_backup FOLDER`: would it come back?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from operations import backup
from somamemory.management.progress import Bar
from tenants.management.command_line import speaking_errors


class Command(BaseCommand):
    help = "Restore a backup into a temporary database, and compare the rows and hashes of every table."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("folder", type=Path, help="as backup has made it")

    def handle(self, *args: Any, folder: Path, **options: Any) -> None:
        bar = Bar(self.stdout)  # type: ignore[arg-type]
        with speaking_errors():
            manifest = backup.verify(folder, bar)
        bar.end()
        rows = sum(table["rows"] for table in manifest.tables.values())
        self.stdout.write(self.style.SUCCESS(f"Good: {rows:,} rows in {len(manifest.tables)} tables are as they were."))
