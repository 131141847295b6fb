"""`manage.py migrate_database --to URL`: migrate from SQLite to PostgreSQL."""

from __future__ import annotations

import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from operations import migrate_database
from somamemory.errors import ConfigurationError


class Command(BaseCommand):
    help = (
        "Copy this installation's SQLite database into an empty PostgreSQL database, and compare the counts and hashes "
        "of every table. "
        "Stop the services first. After an error the target is empty and the command can be repeated. "
        "SQLite's file is kept."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--to",
            required=True,
            metavar="URL",
            help="postgres://user:password@host/database, or - to read it from standard input",
        )

    def handle(self, *args: Any, to: str, **options: Any) -> None:
        # From a pipe it does not show in the list of processes.
        url = sys.stdin.readline().strip() if to == "-" else to
        try:
            moved = migrate_database.move(url, self.stdout.write)
        except (ConfigurationError, DatabaseError) as error:
            raise CommandError(str(error).strip()) from None
        rows = sum(each.rows for each in moved.values())
        self.stdout.write(self.style.SUCCESS(f"{rows:,} rows in {len(moved)} tables are equal in both."))
        where = f"stands in {settings.DATA_DIR / 'secret-key'}" if settings.SECRET_KEY_IS_MADE else "it is now"
        self.stdout.write(f"Next: SOMA_DATABASE_URL to the new one, SOMA_SECRET_KEY to what {where}, and start.")
