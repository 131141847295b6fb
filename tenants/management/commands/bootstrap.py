"""`manage.py bootstrap`: create or migrate the database, with a tenant and a first key. Safe to run again."""

from __future__ import annotations

import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser
from django.db import connection

from somamemory import files
from somamemory.db import databases, migration_stages
from tenants import bootstrap
from tenants.management.command_line import errors_as_one_line


class Command(BaseCommand):
    help = (
        "Apply the migrations that are compatible with running servers of the previous version, and create the first "
        "key if there is none. Run finish_upgrade to apply the remaining migrations."
    )
    requires_migrations_checks = False

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--check", action="store_true", help="change nothing; exit with code 1 if migrations have not been applied"
        )

    def handle(self, *args: Any, check: bool, **options: Any) -> None:
        with errors_as_one_line():
            if check:
                sys.exit(1 if migration_stages.missing() else 0)
            self.stdout.write("Preparing the database …")
            with migration_stages.one_process_at_a_time():
                self._prepare()

    def _prepare(self) -> None:
        migration_stages.expand()
        if databases.lacks_icu(connection):
            self.stderr.write(
                "warning: this PostgreSQL was built without ICU, so filters with icontains fail; use one with ICU, "
                "such as those in Debian and in the official images"
            )
        files.make_private(settings.DATA_DIR)
        if bootstrap.ensure():
            self.stdout.write(
                f"The first key (an operator key with every scope) is in {bootstrap.path()}, readable only by you."
            )
