"""What the commands about all conversations of a folder share."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from conversations import folders
from tenants.caller import Caller
from tenants.keys import find_tenant
from tenants.management.command_line import errors_as_one_line
from tenants.models import DEFAULT_TENANT_SLUG


class FolderCommand(BaseCommand):
    """`manage.py NAME FOLDER [--tenant SLUG]`"""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("folder", help="a folder; / is all of them")
        parser.add_argument("--tenant", default=DEFAULT_TENANT_SLUG)

    def handle(self, *args: Any, **options: Any) -> None:
        if problem := folders.problem(options["folder"]):
            raise CommandError(f"the folder {problem}")
        with errors_as_one_line():
            self.work(Caller.command(find_tenant(options["tenant"])), options["folder"])

    def work(self, caller: Caller, folder: str) -> None:
        raise NotImplementedError
