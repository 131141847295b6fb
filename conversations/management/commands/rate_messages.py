"""`manage.py rate_messages`: the importance of every message of a folder."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from conversations import folders, rating
from tenants.caller import Caller
from tenants.keys import find_tenant
from tenants.management.console import speaking_errors
from tenants.models import DEFAULT_TENANT_SLUG


class Command(BaseCommand):
    help = "Judge how important each message of a folder's conversations is, and keep that as its importance."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("folder", help="a folder; / is all of them")
        parser.add_argument("--tenant", default=DEFAULT_TENANT_SLUG)

    def handle(self, *args: Any, **options: Any) -> None:
        if problem := folders.problem(options["folder"]):
            raise CommandError(f"the folder {problem}")
        with speaking_errors():
            caller = Caller.command(find_tenant(options["tenant"]))
            for conversation, count in rating.rate_folder(caller, options["folder"]):
                self.stdout.write(f"{conversation.label or conversation.id}: {count} messages")
