"""`manage.py extract_facts`: extract facts from conversations now, with the configured language model."""

from __future__ import annotations

from django.core.management.base import CommandError

from conversations import llm
from conversations.enrichment.worker import finish
from conversations.management.folder import FolderCommand
from conversations.models import Conversation
from conversations.query import ConversationQuery
from somamemory.errors import ColdFileDamaged, LlmAnswerInvalid, LlmRefused, NotFound
from tenants.caller import Caller


class Command(FolderCommand):
    help = (
        "Extract facts from a folder's conversations and store them as memories in the 'facts' namespace. Each "
        "message is processed only once, so you can run this command again after an interruption."
    )

    def process(self, caller: Caller, folder: str) -> None:
        llm.needed()
        failed = 0
        rows = Conversation.objects.for_tenant(caller.tenant).filter(ConversationQuery(folder=folder).condition())
        for conversation in rows.order_by("number").iterator(chunk_size=100):
            name = conversation.label or conversation.id
            try:
                progress = finish(caller, conversation.id)
            except (NotFound, ColdFileDamaged, LlmRefused, LlmAnswerInvalid) as error:  # others are not affected
                self.stderr.write(f"{name}: {error}")
                failed += 1
                continue
            count = progress.chore.found if progress.chore else 0
            self.stdout.write(f"{name}: {count} facts, {progress.state}")
        if failed:
            conversations = "conversation" if failed == 1 else "conversations"
            raise CommandError(f"could not read {failed} {conversations}; see the errors above", returncode=2)
