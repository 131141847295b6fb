"""`manage.py finish_upgrade`: the second step of an upgrade, when no server runs the version before any more."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from somamemory.db import migration_stages


class Command(BaseCommand):
    help = "Take away what only the version before still used. Run it when every server has been restarted."
    requires_migrations_checks = False

    def handle(self, *args: Any, **options: Any) -> None:
        for name in (applied := migration_stages.contract()):
            self.stdout.write(f"applied {name}")
        if not applied:
            self.stdout.write("Nothing was waiting.")
