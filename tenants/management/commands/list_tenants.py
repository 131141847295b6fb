"""`manage.py list_tenants`: list the tenants and their quotas."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from tenants import selectors
from tenants.management.command_line import operator
from tenants.services import quotas_of


class Command(BaseCommand):
    help = "List the tenants of this installation and their quotas."

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(f"{'slug':24} {'state':10} {'tier':9} {'created':11} quotas")
        for row in selectors.every_tenant(operator()):
            state = "active" if row.active else "suspended"
            quotas = ", ".join(f"{name} {value:,}" for name, value in quotas_of(row).items() if value is not None)
            self.stdout.write(f"{row.slug:24} {state:10} {row.tier:9} {row.created_at:%Y-%m-%d}  {quotas or 'none'}")
