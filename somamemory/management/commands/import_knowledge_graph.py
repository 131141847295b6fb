"""`manage.py import_knowledge_graph FILE`: import a memory.jsonl file from the MCP reference server."""

from __future__ import annotations

import os
from argparse import FileType
from typing import Any, BinaryIO

from django.core.management.base import BaseCommand, CommandError, CommandParser

from somamemory import extras
from somamemory.errors import ConfigurationError, InvalidInput

MAX_SHOWN = 20  # errors


class Command(BaseCommand):
    help = (
        "Import the entities and relations in a memory.jsonl file into a server (SOMA_URL) or into this data folder, "
        "for use with the knowledge-graph MCP profile. It is safe to run this command again."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=FileType("rb"), help="path to the file, or - for standard input")
        parser.add_argument("--url", default=os.environ.get("SOMA_URL"), help="URL of a server; default: SOMA_URL")
        parser.add_argument("--namespace", help="namespace to import into (default: 'default')")

    def handle(self, *args: Any, file: BinaryIO, url: str | None, namespace: str | None, **options: Any) -> None:
        if not extras.is_installed("mcp"):
            raise CommandError(extras.missing("mcp", "import_knowledge_graph"))
        from api.mcp import knowledge_graph_file, stdio
        from api.mcp.remote_server import Unreachable

        key, tenant = os.environ.get("SOMA_API_KEY"), os.environ.get("SOMA_TENANT")
        try:
            with stdio.connected(url, key, tenant, namespace, knowledge_graph_file.PROFILE) as send:
                report = knowledge_graph_file.load(file, send)
        except (ConfigurationError, InvalidInput, Unreachable) as error:
            raise CommandError(str(error)) from None
        self.stdout.write(f"Imported {report.entities} entities and {report.relations} relations.")
        if report.errors:
            shown = "\n".join(report.errors[:MAX_SHOWN])
            raise CommandError(f"{len(report.errors)} were not imported completely:\n{shown}")
