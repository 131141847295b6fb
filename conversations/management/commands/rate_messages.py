"""`manage.py rate_messages`: rate the importance of every message in a folder."""

from __future__ import annotations

from django.core.management.base import CommandError

from conversations.enrichment import importance
from conversations.management.folder import FolderCommand
from tenants.caller import Caller


class Command(FolderCommand):
    help = "Rate the importance of each message in a folder's conversations, and store the ratings."

    def process(self, caller: Caller, folder: str) -> None:
        failed = 0
        for rated in importance.rate_folder(caller, folder):
            name = rated.conversation.label or rated.conversation.id
            if rated.damaged:
                self.stderr.write(f"{name}: {rated.damaged}")
                failed += rated.conversation.message_count
                continue
            for turn, error in rated.failed.items():
                self.stderr.write(f"{name}, turn {turn}: {error}")
            failed += len(rated.failed)
            self.stdout.write(f"{name}: {rated.count} messages")
        if failed:
            messages = "message" if failed == 1 else "messages"
            raise CommandError(f"could not rate {failed} {messages}; see the errors above", returncode=2)
