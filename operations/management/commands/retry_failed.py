"""`manage.py retry_failed`: retry indexing the failed memories now."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from memories import services
from tenants import selectors
from tenants.management.command_line import errors_as_one_line, operator


class Command(BaseCommand):
    help = "Queue the memories that could not be indexed. Indexing is retried within seconds."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--tenant", metavar="SLUG", help="retry only this tenant's memories")

    def handle(self, *args: Any, tenant: str | None, **options: Any) -> None:
        with errors_as_one_line():
            tenants = (
                selectors.every_tenant(operator()) if tenant is None else [selectors.get_tenant(operator(), tenant)]
            )
            count = sum(services.retry_failed(operator().acting_for(tenant)) for tenant in tenants)
        self.stdout.write(f"{count:,} memories will be retried.")
