# Written by scripts/client_sync.py from _async/conversations.py. Do not edit: run `make reference`.
"""Conversations: record, find, organise, import and export them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Unpack

from somamemory_client import types
from somamemory_client._config import file_content, header_text
from somamemory_client._operation import Fields
from somamemory_client._results import Results, one_name
from somamemory_client._sync.caller import Caller
from somamemory_client._sync.pages import Pages

Status = Literal["active", "pinned", "archived"]
Suggestions = list[types.SuggestionOut]


class Conversations:
    """Record and search conversations. A conversation is identified by its `id` or your application's `external_id`."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def create(
        self, *, external_id: str | None = None, **options: Unpack[types.ConversationsCreateOptions]
    ) -> types.ConversationOut:
        """Create a conversation. If a conversation with this `external_id` exists, return it unchanged."""
        if external_id is None:
            return self._caller.fetch(types.ConversationOut, "conversations.create", {**options})
        fields = {**options, "external_id": external_id}
        return self._caller.fetch(types.ConversationOut, "conversations.create_once", fields)

    def get(self, id: str | None = None, *, external_id: str | None = None) -> types.ConversationOut:
        """Return a conversation without its messages. Raises NotFound if it does not exist."""
        operation, fields = _named("conversations.get", id, external_id)
        return self._caller.fetch(types.ConversationOut, operation, fields)

    def list(self, **options: Unpack[types.ConversationsListOptions]) -> Pages[types.ListedOut]:
        """Return all conversations that match the options, most recently changed first. `limit` is the page size."""
        fields: Fields = {"limit": 100, **options}
        return Pages(self._caller, "conversations.list", fields, "results")

    def count(self, **options: Unpack[types.ConversationsCountOptions]) -> int:
        """Count the conversations that match the options."""
        return (self._caller.fetch(types.CountOut, "conversations.count", {**options}))["count"]

    def append(
        self, messages: Sequence[types.MessageBody], *, id: str | None = None, external_id: str | None = None
    ) -> types.MessagesOut:
        """Append messages to a conversation in one transaction."""
        operation, fields = _named("conversations.append", id, external_id)
        return self._caller.fetch(types.MessagesOut, operation, {**fields, "messages": messages})

    def messages(
        self,
        id: str | None = None,
        *,
        external_id: str | None = None,
        **options: Unpack[types.ConversationsListMessagesOptions],
    ) -> Pages[types.MessageOut]:
        """Return a conversation's messages in order. `limit` is the page size."""
        operation, fields = _named("conversations.list_messages", id, external_id)
        return Pages(self._caller, operation, {**options, **fields})

    def update(self, id: str, /, **changes: Unpack[types.ConversationsUpdateOptions]) -> types.ChangedOut:
        """Change the given fields of a conversation, and leave the others unchanged."""
        return self._caller.fetch(types.ChangedOut, "conversations.update", {**changes, "id": id})

    def set_label(self, id: str, label: str) -> types.ChangedOut:
        """Change a conversation's label."""
        return self._caller.fetch(types.ChangedOut, "conversations.set_label", {"id": id, "label": label})

    def set_folder(self, id: str, folder: str) -> types.ChangedOut:
        """Move a conversation to a folder."""
        return self._caller.fetch(types.ChangedOut, "conversations.set_folder", {"id": id, "folder": folder})

    def set_status(self, id: str, status: Status) -> types.ChangedOut:
        """Activate, pin or archive a conversation."""
        return self._caller.fetch(types.ChangedOut, "conversations.set_status", {"id": id, "status": status})

    def pin(self, id: str) -> types.ChangedOut:
        """Pin a conversation, and set its importance to 10."""
        return self._caller.fetch(types.ChangedOut, "conversations.pin", {"id": id})

    def archive(self, id: str) -> types.ChangedOut:
        """Archive a conversation: searches and contexts skip it unless they include archived conversations."""
        return self._caller.fetch(types.ChangedOut, "conversations.archive", {"id": id})

    def delete(self, id: str, *, purge: bool = False) -> types.ConversationDeletedOut:
        """Delete a conversation. It can be restored during the retention period, unless `purge` is true."""
        fields: Fields = {"id": id, "purge": purge}
        return self._caller.fetch(types.ConversationDeletedOut, "conversations.delete", fields)

    def deleted(self, **options: Unpack[types.ConversationsListDeletedOptions]) -> Pages[types.DeletedConversationOut]:
        """Return the deleted conversations that can still be restored. `limit` is the page size."""
        return Pages(self._caller, "conversations.list_deleted", {**options})

    def restore(self, id: str) -> types.ChangedOut:
        """Restore a deleted conversation with its messages, summaries, facts and links."""
        return self._caller.fetch(types.ChangedOut, "conversations.restore", {"id": id})

    def search(self, query: str, /, **options: Unpack[types.MessagesSearchOptions]) -> Results[types.QueryResultOut]:
        """Search messages by meaning and keyword."""
        body = self._caller.fetch(types.QueryOut, "messages.search", {**options, "query": query})
        return Results(body["results"], body)

    def search_full_text(
        self, query: str, /, **options: Unpack[types.MessagesSearchFullTextOptions]
    ) -> Results[types.FullTextResultOut]:
        """Search messages by words, "phrases" and prefixes*, combined with AND, OR, NOT and parentheses."""
        body = self._caller.fetch(types.FullTextOut, "messages.search_full_text", {**options, "query": query})
        return Results(body["results"], body)

    def summarize(self, id: str, **options: Unpack[types.SummariesCreateForConversationOptions]) -> types.SummaryOut:
        """Summarise a day, a week or a month of a conversation."""
        fields = {**options, "id": id}
        return self._caller.fetch(types.SummaryOut, "summaries.create_for_conversation", fields)

    def suggest_labels(self, id: str) -> Suggestions:
        """Suggest labels for a conversation."""
        return self._caller.fetch(Suggestions, "labels.suggest_for_conversation", {"id": id})

    def extract_facts(self, id: str) -> types.ExtractionOut:
        """Extract facts from a conversation in the background. Requires a language model on the server."""
        return self._caller.fetch(types.ExtractionOut, "facts.extract", {"id": id})

    def facts(self, id: str, **options: Unpack[types.FactsListOptions]) -> Pages[types.FactOut]:
        """Return the facts extracted from a conversation."""
        return Pages(self._caller, "facts.list", {**options, "id": id})

    def rate_message(self, id: str) -> types.RatedOut:
        """Rate a message's importance."""
        return self._caller.fetch(types.RatedOut, "messages.rate", {"id": id})

    def export(self, **options: Unpack[types.ConversationsExportOptions]) -> str:
        """Return conversations as JSON (the default) or, depending on `format`, as JSON lines or Markdown."""
        return self._caller.text("conversations.export", {**options})

    def import_file(
        self, content: bytes, content_type: str, **options: Unpack[types.ConversationsImportOptions]
    ) -> types.ImportOut:
        """Import conversations from a ChatGPT, Claude or SomaMemory export, or from Markdown or text."""
        request = self._caller.config.request("conversations.import", {**options})
        request.body = file_content(content)
        request.headers["Content-Type"] = header_text("content_type", content_type)
        result: types.ImportOut = self._caller.document(request)
        return result


def _named(operation: str, id: str | None, external_id: str | None) -> tuple[str, Fields]:
    if one_name(id=id, external_id=external_id) == "id":
        return operation, {"id": id}
    return f"{operation}_by_external_id", {"external_id": external_id}
