"""`manage.py verify_backup FOLDER`: check that a backup can be restored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from operations.backup import backups
from somamemory.management.progress import ProgressBar
from tenants.management.command_line import errors_as_one_line


class Command(BaseCommand):
    help = "Restore a backup into a temporary database, and compare the row counts and hashes of all tables."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("folder", type=Path, help="backup folder to verify")

    def handle(self, *args: Any, folder: Path, **options: Any) -> None:
        bar = ProgressBar(self.stdout)
        with errors_as_one_line():
            verified = backups.verify(folder, bar)
        bar.clear()
        rows = sum(table["rows"] for table in verified.tables.values())
        self.stdout.write(self.style.SUCCESS(f"Verified: {rows:,} rows in {len(verified.tables)} tables match."))
