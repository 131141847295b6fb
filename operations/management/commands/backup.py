"""`manage.py backup`: back up the whole installation while it is running."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from operations.backup import backups, manifest
from somamemory.installation import COMMAND
from somamemory.management.progress import ProgressBar
from tenants.management.command_line import errors_as_one_line, whole_number

MAX_DAYS = 36_500  # a hundred years


class Command(BaseCommand):
    help = "Create a consistent backup of the whole database in a new folder, with a manifest for verification."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--to", type=Path, metavar="FOLDER", help="folder for backups; default: 'backups' in the data folder"
        )
        parser.add_argument(
            "--keep-days",
            type=whole_number(0, MAX_DAYS),
            default=14,
            help="delete backups that are older than this many days, but never the newest (default: 14)",
        )

    def handle(self, *args: Any, to: Path | None, keep_days: int, **options: Any) -> None:
        to = to or Path(settings.DATA_DIR) / "backups"
        bar = ProgressBar(self.stdout)
        with errors_as_one_line():
            folder = backups.create(to, bar)
            created = manifest.read(folder)
        bar.clear()
        deleted = backups.delete_old(to, keep_days)
        rows = sum(table["rows"] for table in created.tables.values())
        self.stdout.write(self.style.SUCCESS(f"{folder}") + f"  {rows:,} rows, {created.bytes:,} bytes")
        if deleted:
            self.stdout.write(f"Deleted backups older than {keep_days} days: {', '.join(deleted)}")
        for name, summary in created.elsewhere.items():
            self.stdout.write(f"{name}: {summary['files']:,} files, {summary['bytes']:,} bytes")
            for file in summary["missing"]:
                self.stderr.write(f"missing or damaged, and therefore not in the backup: {file}")
        self.stdout.write(f"Next: {COMMAND} verify_backup {folder}")
