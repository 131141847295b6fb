"""`manage.py backup`: one moment of everything, while the service goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from operations import backup
from somamemory.management.progress import Bar
from tenants.management.command_line import speaking_errors


class Command(BaseCommand):
    help = "Put the whole database into a folder, as it is at one moment, with a manifest to check it by."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--to", type=Path, metavar="FOLDER", help="left out: backups in the data folder")
        parser.add_argument("--keep-days", type=int, default=14, help="older backups there are removed; never the last")

    def handle(self, *args: Any, to: Path | None, keep_days: int, **options: Any) -> None:
        to = to or Path(settings.DATA_DIR) / "backups"
        bar = Bar(self.stdout)  # type: ignore[arg-type]
        with speaking_errors():
            folder = backup.make(to, bar)
            manifest = backup.read(folder)
        bar.end()
        swept = backup.sweep(to, max(0, keep_days))
        rows = sum(table["rows"] for table in manifest.tables.values())
        self.stdout.write(self.style.SUCCESS(f"{folder}") + f"  {rows:,} rows, {manifest.bytes:,} bytes")
        if swept:
            self.stdout.write(f"Removed, as older than {keep_days} days: {', '.join(swept)}")
        for name, told in manifest.elsewhere.items():
            self.stdout.write(f"{name}: {told['files']:,} files, {told['bytes']:,} bytes")
            for each in told["missing"]:
                self.stderr.write(f"missing or damaged, and not in the backup: {each}")
        self.stdout.write(f"Next: manage.py verify_backup {folder}")
