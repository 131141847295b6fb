"""`manage.py rate_messages`: rate the importance of every message in a folder."""

from __future__ import annotations

from conversations.enrichment import importance
from conversations.management.folder import FolderCommand
from tenants.caller import Caller


class Command(FolderCommand):
    help = "Rate the importance of each message in a folder's conversations and store the rating."

    def process(self, caller: Caller, folder: str) -> None:
        for conversation, count in importance.rate_folder(caller, folder):
            self.stdout.write(f"{conversation.label or conversation.id}: {count} messages")
