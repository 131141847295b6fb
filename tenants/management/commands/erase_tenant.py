"""`manage.py erase_tenant SLUG`: permanently erase all of a tenant's data."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from tenants import erasure
from tenants.management.command_line import errors_as_one_line, operator


class Command(BaseCommand):
    help = (
        "Permanently erase all of a tenant's data, and print a receipt. Run the command again to confirm that no data "
        "remains."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("slug", help="tenant slug")
        parser.add_argument("--yes", action="store_true", help="do not ask for confirmation")

    def handle(self, *args: Any, slug: str, yes: bool, **options: Any) -> None:
        if not yes and _answer(f"Permanently erase tenant '{slug}' and its data? Type the slug to confirm: ") != slug:
            raise CommandError("the slug does not match; nothing was erased")
        with errors_as_one_line():
            receipt = erasure.erase(operator(), slug)
        summary = {"slug": slug, "id": str(receipt.id), "rows": receipt.rows, "elsewhere": receipt.elsewhere}
        self.stdout.write(json.dumps({**summary, "total": receipt.total, "missing": receipt.missing}, indent=2))
        if receipt.missing:
            self.stderr.write(f"Could not reach: {', '.join(receipt.missing)}. The running server will try again.")


def _answer(question: str) -> str:
    """Return the answer from standard input. Raises CommandError if it ends without one."""
    try:
        return input(question)
    except EOFError:
        raise CommandError(
            "standard input ended without a confirmation; to erase without confirmation, use --yes"
        ) from None
