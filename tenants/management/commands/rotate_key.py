"""`manage.py rotate_key PREFIX --tenant SLUG`."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from tenants import keys, selectors
from tenants.management.command_line import errors_as_one_line, operator


class Command(BaseCommand):
    help = "Make a key like another one, which goes on working for a day."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("prefix", help="of the old key, as list_keys shows it")
        parser.add_argument("--tenant", help="whose it is; left out: an operator's")
        parser.add_argument("--overlap-hours", type=int, default=24, help="how long the old key goes on working")

    def handle(self, *args: Any, prefix: str, tenant: str | None, overlap_hours: int, **options: Any) -> None:
        with errors_as_one_line():
            owner = selectors.get_tenant(operator(), tenant) if tenant is not None else None
            issued = keys.rotate(operator(), prefix, owner, timedelta(hours=max(0, overlap_hours)))
        self.stderr.write("This key is shown only now:")
        self.stdout.write(issued.secret)
