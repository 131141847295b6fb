"""`manage.py maintain_index`: create pgvector's indexes for large namespaces now."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from memories.index import maintenance
from somamemory.errors import ConfigurationError, SomaError


class Command(BaseCommand):
    help = (
        "With pgvector, create an approximate index for each large namespace, and remove all other approximate "
        "indexes. The server does this every ten minutes, except behind PgBouncer. Behind PgBouncer, run "
        "this command every hour, and set SOMA_DATABASE_URL to the address of the PostgreSQL server itself."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            maintenance.maintain_index(lambda: False)
        except (SomaError, ConfigurationError) as error:
            raise CommandError(str(error)) from None
        self.stdout.write("The indexes are up to date.")
