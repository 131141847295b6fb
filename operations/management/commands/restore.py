"""`manage.py restore FOLDER`: restore a backup into an empty installation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandParser

from operations.backup import backups
from somamemory.management.progress import ProgressBar
from tenants.management.command_line import errors_as_one_line


class Command(BaseCommand):
    help = "Restore a backup into an empty database. The server then fills the vector index from the restored vectors."
    requires_migrations_checks = False

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("folder", type=Path, help="backup folder to restore")

    def handle(self, *args: Any, folder: Path, **options: Any) -> None:
        bar = ProgressBar(self.stdout)
        with errors_as_one_line():
            restored = backups.restore(
                folder, bar, migrate=lambda: call_command("migrate", verbosity=0, interactive=False)
            )
        bar.clear()
        memories = restored.tables["sfm_memories"]["rows"]
        self.stdout.write(
            self.style.SUCCESS(f"Restored {memories:,} memories as of {restored.created_at}.")
            + " Next: start the server. Keyword search works immediately; semantic search improves as the index fills."
        )
