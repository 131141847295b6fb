"""`manage.py tenant_usage SLUG`: show a tenant's usage and quotas."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from tenants import selectors
from tenants.management.command_line import errors_as_one_line, operator


class Command(BaseCommand):
    help = "Show a tenant's usage and quotas. Requests and daily tokens are counted for the current day (UTC)."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("slug", help="tenant slug")

    def handle(self, *args: Any, slug: str, **options: Any) -> None:
        with errors_as_one_line():
            usage = selectors.usage_of(operator(), selectors.get_tenant(operator(), slug))
        for name, (used, quota) in usage.items():
            of = f"of {quota:,} ({used / quota:.0%})" if quota else "of 0" if quota == 0 else "no limit"
            self.stdout.write(f"{name:20} {used:16,}  {of}")
