"""`manage.py bootstrap`: from an empty folder to a database with a tenant and a key. May run any number of times."""

from __future__ import annotations

from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand

from tenants import first_key


class Command(BaseCommand):
    help = "Apply the migrations and make the first key if there is none."
    requires_migrations_checks = False

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write("Preparing the database …")
        call_command("migrate", verbosity=0, interactive=False)
        secret = first_key.ensure()
        if secret:
            self.stdout.write(
                f"\nYour first key (an operator's, with every scope) is shown only now:\n\n    {secret}\n\n"
                f"It is kept in {first_key.path()}, readable by you alone.\n"
            )
