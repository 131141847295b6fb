"""`manage.py create_tenant SLUG`: create a tenant."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from somamemory.installation import COMMAND
from tenants import services
from tenants.management.command_line import errors_as_one_line, operator


class Command(BaseCommand):
    help = "Create a tenant."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("slug", help="1 to 63 characters from a-z, 0-9, - and _")
        parser.add_argument("--name", default="", help="display name")

    def handle(self, *args: Any, slug: str, name: str, **options: Any) -> None:
        with errors_as_one_line():
            services.create_tenant(operator(), slug, name)
        self.stdout.write(
            self.style.SUCCESS(f"Created tenant '{slug}'.") + f" Next: {COMMAND} create_key {slug} --name my-agent"
        )
