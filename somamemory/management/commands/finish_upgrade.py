"""`manage.py finish_upgrade`: run the second stage of an upgrade, when no server is running the previous version."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from somamemory.db import migration_stages
from tenants.management.command_line import errors_as_one_line


class Command(BaseCommand):
    help = "Remove everything that only the previous version used. Run this command after restarting every server."
    requires_migrations_checks = False

    def handle(self, *args: Any, **options: Any) -> None:
        with errors_as_one_line():
            applied = migration_stages.contract()
        for name in applied:
            self.stdout.write(f"applied {name}")
        if not applied:
            self.stdout.write("Nothing to do: all migrations are applied.")
