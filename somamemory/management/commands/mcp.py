"""`manage.py mcp`: serve the Model Context Protocol on standard input and output."""

from __future__ import annotations

import os
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from somamemory import extras
from somamemory.errors import ConfigurationError


class Command(BaseCommand):
    help = (
        "Serve the Model Context Protocol on standard input and output. Messages are forwarded to the server at "
        "SOMA_URL, or to the server that uses this data folder. If no server is running, this command serves the data "
        "folder itself."
    )
    requires_migrations_checks = False
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--url", default=os.environ.get("SOMA_URL"), help="URL of a server; default: SOMA_URL")
        parser.add_argument("--namespace", help="namespace that the tools use (default: 'default')")
        parser.add_argument("--profile", help="set of tools to offer, such as chatgpt or sekha (default: 'default')")

    def handle(self, *args: Any, url: str | None, namespace: str | None, profile: str | None, **options: Any) -> None:
        if not extras.is_installed("mcp"):
            raise CommandError(extras.missing("mcp", "manage.py mcp"))
        from api.mcp import stdio

        try:
            stdio.main(url, os.environ.get("SOMA_API_KEY"), os.environ.get("SOMA_TENANT"), namespace, profile)
        except ConfigurationError as error:
            raise CommandError(str(error)) from None
        except KeyboardInterrupt:
            pass
