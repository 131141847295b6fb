"""`manage.py revoke_key PREFIX --tenant SLUG`: revoke an API key."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from tenants import keys, selectors
from tenants.management.command_line import errors_as_one_line, operator


class Command(BaseCommand):
    help = "Revoke a key permanently."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("prefix", help="key prefix, as shown by list_keys")
        parser.add_argument("--tenant", help="tenant slug; omit it for an operator key")

    def handle(self, *args: Any, prefix: str, tenant: str | None, **options: Any) -> None:
        with errors_as_one_line():
            owner = selectors.get_tenant(operator(), tenant) if tenant is not None else None
            keys.revoke(operator(), prefix, owner)
        self.stdout.write(
            self.style.SUCCESS(f"Revoked key {prefix}.")
            + f" Running servers reject it within {settings.KEY_CACHE_S} seconds."
        )
