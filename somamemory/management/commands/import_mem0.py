"""`manage.py import_mem0 FILE`: import an export from mem0."""

from __future__ import annotations

import time
from argparse import FileType
from typing import Any, BinaryIO

from django.core.management.base import BaseCommand, CommandError, CommandParser

from api.compat.mem0 import importing
from somamemory.errors import SomaError
from tenants.caller import Caller
from tenants.keys import find_tenant
from tenants.management.command_line import errors_as_one_line
from tenants.models import DEFAULT_TENANT_SLUG

_WAIT_S = 5.0


class Command(BaseCommand):
    help = (
        "Import memories from mem0: the results of client.get_all(), as a JSON document or as one object per line. "
        "Memories keep their ids. If you import again, only new memories are added."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=FileType("rb"), help="path to the file, or - for standard input")
        parser.add_argument("--tenant", default=DEFAULT_TENANT_SLUG, help="tenant slug")

    def handle(self, *args: Any, file: BinaryIO, tenant: str, **options: Any) -> None:
        with file, errors_as_one_line():
            report = importing.load(Caller.command(find_tenant(tenant)), file, self._wait)
        self.stdout.write(
            f"Stored {report.added} memories; {report.present} were already there, and {report.expired} had expired."
        )
        self.stdout.write(f"sent:   {report.sent}\nstored: {report.stored}")
        for error in report.errors:
            self.stdout.write(self.style.WARNING(error))
        if report.failed:
            raise CommandError(f"memories not imported: {report.failed}; see the errors above", returncode=2)
        if report.sent != report.stored:
            raise CommandError("some memories differ from the file; they have been changed since they were imported")

    def _wait(self, error: SomaError) -> None:
        """Give the server or a worker, one of which must be running, time to index pending memories."""
        self.stderr.write(f"waiting: {error}")
        time.sleep(_WAIT_S)
