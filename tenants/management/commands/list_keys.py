"""`manage.py list_keys [SLUG]`: list API keys."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.utils import timezone

from somamemory.installation import COMMAND
from tenants import selectors
from tenants.management.command_line import errors_as_one_line, operator
from tenants.models import ApiKey


class Command(BaseCommand):
    help = "List a tenant's keys or, without a slug, the operator keys. Secrets are not stored, so they are not shown."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("slug", nargs="?", help="tenant slug; omit it to list operator keys")

    def handle(self, *args: Any, slug: str | None, **options: Any) -> None:
        with errors_as_one_line():
            tenant = selectors.get_tenant(operator(), slug) if slug is not None else None
            rows = selectors.list_keys(operator(), tenant)
        if not rows:
            self.stdout.write(f"No keys. Next: {COMMAND} create_key " + (slug or "--operator"))
            return
        self.stdout.write(f"{'prefix':14} {'state':8} {'created':17} {'scopes':26} {'namespaces':16} {'user':12} name")
        for row in rows:
            self.stdout.write(
                f"{row.prefix:14} {_state(row):8} {row.created_at:%Y-%m-%d %H:%M}  {' '.join(row.scopes):26} "
                f"{' '.join(row.namespaces) or 'all':16} {row.user_id or 'all':12} {row.name}"
            )


def _state(key: ApiKey) -> str:
    if key.revoked_at:
        return "revoked"
    return "expired" if key.expires_at and key.expires_at <= timezone.now() else "active"
