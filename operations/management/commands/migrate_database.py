"""`manage.py migrate_database --to URL`: migrate from SQLite to PostgreSQL."""

from __future__ import annotations

import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from operations import migrate_database
from tenants.management.command_line import errors_as_one_line


class Command(BaseCommand):
    help = (
        "Copy this installation's SQLite database into an empty PostgreSQL database, and compare the row counts "
        "and hashes of all tables. Stop the services first. If the command fails, the target stays empty, and you can "
        "run the command again. The SQLite file is kept."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--to",
            required=True,
            metavar="URL",
            help="postgres://user:password@host/database, or - to read the URL from standard input",
        )

    def handle(self, *args: Any, to: str, **options: Any) -> None:
        # If the URL comes from a pipe, it does not appear in the process list.
        url = sys.stdin.readline().strip() if to == "-" else to
        with errors_as_one_line():
            moved = migrate_database.move(url, self.stdout.write)
        rows = sum(content.rows for content in moved.values())
        self.stdout.write(self.style.SUCCESS(f"{rows:,} rows in {len(moved)} tables are identical in both databases."))
        where = (
            f"the content of {settings.DATA_DIR / 'secret-key'}" if settings.SECRET_KEY_IS_MADE else "its current value"
        )
        audit = f", set SOMA_AUDIT_KEY_FILE to {settings.AUDIT_KEY_FILE}" if settings.AUDIT_KEY_FILE else ""
        self.stdout.write(
            f"Next: set SOMA_DATABASE_URL to the new database, set SOMA_SECRET_KEY to {where}{audit}, and start the "
            "services."
        )
