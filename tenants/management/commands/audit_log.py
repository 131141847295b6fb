"""`manage.py audit_log SLUG`: show a tenant's audit log."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from tenants import selectors
from tenants.management.command_line import errors_as_one_line, operator, whole_number
from tenants.selectors import AuditFilter

MAX_ROWS = 1_000_000


class Command(BaseCommand):
    help = "Show a tenant's audit log, newest entries first."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("slug", help="tenant slug")
        parser.add_argument("--action", default="", help='show only entries with this action, such as "memory.store"')
        parser.add_argument("--actor", default="", help='show only entries by this actor, such as "key:PREFIX"')
        parser.add_argument(
            "--limit", type=whole_number(1, MAX_ROWS), default=50, help="maximum number of entries (default: 50)"
        )

    def handle(self, *args: Any, slug: str, action: str, actor: str, limit: int, **options: Any) -> None:
        with errors_as_one_line():
            tenant = selectors.get_tenant(operator(), slug)
            rows = selectors.list_audit(operator(), tenant, AuditFilter(action, actor), limit=limit)
        for row in rows:
            place = f"{row.namespace}[{row.target}]" if row.namespace else row.target
            self.stdout.write(f"{row.at:%Y-%m-%d %H:%M:%S}  {row.actor:16} {row.action:16} {row.address:15} {place}")
