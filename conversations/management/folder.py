"""Base class for commands that process all conversations in a folder."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from conversations import folders
from conversations.models import Conversation
from conversations.query import ConversationQuery
from tenants.caller import Caller
from tenants.keys import find_tenant
from tenants.management.command_line import errors_as_one_line
from tenants.models import DEFAULT_TENANT_SLUG


class FolderCommand(BaseCommand):
    """Base class for commands of the form `manage.py NAME FOLDER [--tenant SLUG]`."""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("folder", help="folder to process, including its subfolders; / for all conversations")
        parser.add_argument("--tenant", default=DEFAULT_TENANT_SLUG, help="tenant slug")

    def handle(self, *args: Any, **options: Any) -> None:
        if problem := folders.problem(options["folder"]):
            raise CommandError(f"folder: {problem}")
        with errors_as_one_line():
            caller = Caller.command(find_tenant(options["tenant"]))
            self._refuse_empty(caller, options["folder"])
            self.process(caller, options["folder"])

    def _refuse_empty(self, caller: Caller, folder: str) -> None:
        within = ConversationQuery(folder=folder).condition()
        if not Conversation.objects.for_tenant(caller.tenant).filter(within).exists():
            raise CommandError(
                f"tenant '{caller.tenant.slug}' has no conversations in folder {folder}; check the folder and --tenant"
            )

    def process(self, caller: Caller, folder: str) -> None:
        raise NotImplementedError
