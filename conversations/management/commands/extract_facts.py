"""`manage.py extract_facts`: facts out of conversations, now and here, with the language model of the settings."""

from __future__ import annotations

from conversations import llm
from conversations.enrichment.worker import finish
from conversations.management.folder import FolderCommand
from conversations.models import Conversation
from conversations.query import ConversationQuery
from tenants.caller import Caller


class Command(FolderCommand):
    help = (
        "Take facts out of the conversations of a folder, and store them as memories of the namespace 'facts'. What "
        "has been read is not read again; a run that ends early, for want of budget or by Ctrl-C, can be continued."
    )

    def work(self, caller: Caller, folder: str) -> None:
        llm.needed()
        inside = Conversation.objects.for_tenant(caller.tenant).filter(ConversationQuery(folder=folder).condition())
        for conversation in inside.order_by("number").iterator(chunk_size=100):
            done = finish(caller, conversation.id)
            told = f"{done.chore.found if done.chore else 0} facts, {done.state}"
            self.stdout.write(f"{conversation.label or conversation.id}: {told}")
