"""`manage.py row_level_security on|off|status`."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from somamemory.installation import COMMAND
from tenants import row_level_security
from tenants.management.command_line import errors_as_one_line


class Command(BaseCommand):
    help = (
        "Manage row-level security, with which PostgreSQL hides other tenants' rows from each request. on: create the "
        "policies, as bootstrap does with SOMA_ROW_LEVEL_SECURITY=true; off: remove the policies; status: list any "
        "missing parts, and exit with code 1 if there are any."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("action", choices=("on", "off", "status"))

    def handle(self, *args: Any, action: str, **options: Any) -> None:
        with errors_as_one_line():
            {"on": self._on, "off": self._off, "status": self._status}[action]()

    def _on(self) -> None:
        for name in (changed := row_level_security.install()):
            self.stdout.write(f"protected {name}")
        self.stdout.write(f"{len(row_level_security.tables())} tables are protected, {len(changed)} of them new.")
        if not settings.ROW_LEVEL_SECURITY:
            self.stdout.write("Next: set SOMA_ROW_LEVEL_SECURITY=true and restart the servers to apply the policies.")

    def _off(self) -> None:
        if settings.ROW_LEVEL_SECURITY:
            raise CommandError(
                "SOMA_ROW_LEVEL_SECURITY is on; unset it and restart the servers, then run this command again"
            )
        row_level_security.remove()
        self.stdout.write("Row-level security is now off for all tables.")

    def _status(self) -> None:
        for sentence in (missing := row_level_security.missing()):
            self.stdout.write(sentence)
        self.stdout.write(f"SOMA_ROW_LEVEL_SECURITY is {'on' if settings.ROW_LEVEL_SECURITY else 'off'}.")
        if missing:
            self.stdout.write(f"Next: {COMMAND} row_level_security on")
            raise SystemExit(1)
        self.stdout.write(f"{len(row_level_security.tables())} tables are protected.")
