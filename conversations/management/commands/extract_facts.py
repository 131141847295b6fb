"""`manage.py extract_facts`: facts out of conversations, now and here, with the language model of the settings."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from conversations import folders, llm, selectors
from conversations.models import Conversation
from conversations.working import finish
from tenants.caller import Caller
from tenants.keys import find_tenant
from tenants.management.console import speaking_errors
from tenants.models import DEFAULT_TENANT_SLUG


class Command(BaseCommand):
    help = (
        "Take facts out of the conversations of a folder, and store them as memories of the namespace 'facts'. What "
        "has been read is not read again; a run that ends early, for want of budget or by Ctrl-C, can be continued."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("folder", help="a folder; / is all of them")
        parser.add_argument("--tenant", default=DEFAULT_TENANT_SLUG)

    def handle(self, *args: Any, **options: Any) -> None:
        if problem := folders.problem(options["folder"]):
            raise CommandError(f"the folder {problem}")
        with speaking_errors():
            llm.needed()
            caller = Caller.command(find_tenant(options["tenant"]))
            inside = Conversation.objects.for_tenant(caller.tenant).filter(
                selectors.Wanted(folder=options["folder"]).condition()
            )
            for conversation in inside.order_by("number").iterator(chunk_size=100):
                done = finish(caller, conversation.id)
                told = f"{done.chore.found if done.chore else 0} facts, {done.state}"
                self.stdout.write(f"{conversation.label or conversation.id}: {told}")
