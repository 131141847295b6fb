"""`manage.py rotate_key PREFIX --tenant SLUG`: replace an API key."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from tenants import key_form, keys, selectors
from tenants.management.command_line import errors_as_one_line, operator, whole_number

MAX_HOURS = 87_600  # ten years


class Command(BaseCommand):
    help = "Replace a key with a new one that has the same permissions. The old key expires after --overlap-hours."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("prefix", help="prefix of the old key, as shown by list_keys")
        parser.add_argument("--tenant", help="tenant slug; omit it for an operator key")
        parser.add_argument(
            "--overlap-hours",
            type=whole_number(0, MAX_HOURS),
            default=24,
            help="number of hours after which the old key expires (default: 24)",
        )
        parser.add_argument(
            "--style",
            choices=tuple(key_form.STYLES),
            default="soma",
            help="beginning of the new key: soma_ (default), or sk-sekha- for Sekha's clients",
        )

    def handle(
        self, *args: Any, prefix: str, tenant: str | None, overlap_hours: int, style: str, **options: Any
    ) -> None:
        with errors_as_one_line():
            owner = selectors.get_tenant(operator(), tenant) if tenant is not None else None
            issued = keys.rotate(operator(), prefix, owner, timedelta(hours=overlap_hours), style)
        self.stderr.write("Copy this key now; it cannot be shown again:")
        self.stdout.write(issued.secret)
