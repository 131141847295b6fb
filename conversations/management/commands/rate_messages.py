"""`manage.py rate_messages`: the importance of every message of a folder."""

from __future__ import annotations

from conversations.enrichment import importance
from conversations.management.folder import FolderCommand
from tenants.caller import Caller


class Command(FolderCommand):
    help = "Judge how important each message of a folder's conversations is, and keep that as its importance."

    def work(self, caller: Caller, folder: str) -> None:
        for conversation, count in importance.rate_folder(caller, folder):
            self.stdout.write(f"{conversation.label or conversation.id}: {count} messages")
