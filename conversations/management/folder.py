"""Base class of commands that process all conversations in a folder."""

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
        parser.add_argument("folder", help="folder to process, including its subfolders; / for all conversations")
        parser.add_argument("--tenant", default=DEFAULT_TENANT_SLUG, help="slug of the tenant")

    def handle(self, *args: Any, **options: Any) -> None:
        if problem := folders.problem(options["folder"]):
            raise CommandError(f"folder: {problem}")
        with errors_as_one_line():
            self.process(Caller.command(find_tenant(options["tenant"])), options["folder"])

    def process(self, caller: Caller, folder: str) -> None:
        raise NotImplementedError
