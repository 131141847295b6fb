"""`manage.py index_status`: show how many memories await indexing, and why indexing has failed."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from memories import counts
from somamemory.installation import COMMAND
from tenants.management.command_line import operator


class Command(BaseCommand):
    help = (
        "Show how many of each tenant's memories await indexing and for how long, and how many could not be indexed "
        "and why."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        rows = counts.index_queue(operator())
        if not rows:
            self.stdout.write(self.style.SUCCESS("No memories await indexing."))
            return
        self.stdout.write(f"{'tenant':24} {'generation':28} {'pending':>9} {'failed':>8} {'oldest':>9}  reason")
        for row in rows:
            numbers = f"{row.pending:9,} {row.failed:8,} {row.oldest_s:7,} s"
            self.stdout.write(f"{row.tenant:24} {row.generation:28} {numbers}  {row.reason}")
        if any(row.failed for row in rows):
            self.stdout.write(f"Next, once the cause is fixed: {COMMAND} retry_failed")
