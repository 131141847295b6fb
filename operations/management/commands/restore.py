"""`manage.py restore FOLDER`: from a backup to a running installation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandParser

from operations import backup
from somamemory.management.progress import Bar
from tenants.management.command_line import speaking_errors


class Command(BaseCommand):
    help = "Bring a backup into an empty database; the server then fills the index from the vectors in it."
    requires_migrations_checks = False

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("folder", type=Path, help="as backup has made it")

    def handle(self, *args: Any, folder: Path, **options: Any) -> None:
        bar = Bar(self.stdout)  # type: ignore[arg-type]
        with speaking_errors():
            manifest = backup.restore(folder, bar)
        bar.end()
        call_command("migrate", verbosity=0, interactive=False)
        memories = manifest.tables["sfm_memories"]["rows"]
        self.stdout.write(
            self.style.SUCCESS(f"As it was at {manifest.created_at}: {memories:,} memories.")
            + " Next: start the server; words find them at once, and meaning as fast as the index is filled."
        )
