"""`manage.py erase_tenant SLUG`."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from tenants import erasure
from tenants.management.command_line import errors_as_one_line, operator


class Command(BaseCommand):
    help = "Erase everything of a tenant, for good, and print the receipt. Run it again to see that nothing is left."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("slug", help="the tenant")
        parser.add_argument("--yes", action="store_true", help="do not ask")

    def handle(self, *args: Any, slug: str, yes: bool, **options: Any) -> None:
        if not yes and input(f"Erase everything of '{slug}'? Type its name to go on: ") != slug:
            raise CommandError("nothing was erased")
        with errors_as_one_line():
            receipt = erasure.erase(operator(), slug)
        found = {"slug": slug, "id": str(receipt.id), "rows": receipt.rows, "elsewhere": receipt.elsewhere}
        self.stdout.write(json.dumps({**found, "total": receipt.total, "missing": receipt.missing}, indent=2))
        if receipt.missing:
            self.stderr.write(f"Not reached now: {', '.join(receipt.missing)}. The running server goes on with it.")
