"""Conversations: record, find, organise, import and export them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Unpack

from somamemory_client import types
from somamemory_client._async.caller import AsyncCaller
from somamemory_client._async.pages import AsyncPages
from somamemory_client._config import file_content, header_text
from somamemory_client._operation import Fields
from somamemory_client._results import Results, one_name

Status = Literal["active", "pinned", "archived"]
Suggestions = list[types.SuggestionOut]


class AsyncConversations:
    """Record and search conversations. A conversation is identified by its `id` or your application's `external_id`."""

    def __init__(self, caller: AsyncCaller) -> None:
        self._caller = caller

    async def create(
        self, *, external_id: str | None = None, **options: Unpack[types.ConversationsCreateOptions]
    ) -> types.ConversationOut:
        """Create a conversation. If a conversation with this `external_id` exists, return it unchanged."""
        if external_id is None:
            return await self._caller.fetch(types.ConversationOut, "conversations.create", {**options})
        fields = {**options, "external_id": external_id}
        return await self._caller.fetch(types.ConversationOut, "conversations.create_once", fields)

    async def get(self, id: str | None = None, *, external_id: str | None = None) -> types.ConversationOut:
        """Return a conversation without its messages. Raises NotFound if it does not exist."""
        operation, fields = _named("conversations.get", id, external_id)
        return await self._caller.fetch(types.ConversationOut, operation, fields)

    def list(self, **options: Unpack[types.ConversationsListOptions]) -> AsyncPages[types.ListedOut]:
        """Return all conversations that match the options, most recently changed first. `limit` is the page size."""
        fields: Fields = {"limit": 100, **options}
        return AsyncPages(self._caller, "conversations.list", fields, "results")

    async def count(self, **options: Unpack[types.ConversationsCountOptions]) -> int:
        """Count the conversations that match the options."""
        return (await self._caller.fetch(types.CountOut, "conversations.count", {**options}))["count"]

    async def append(
        self, messages: Sequence[types.MessageBody], *, id: str | None = None, external_id: str | None = None
    ) -> types.MessagesOut:
        """Append messages to a conversation in one transaction."""
        operation, fields = _named("conversations.append", id, external_id)
        return await self._caller.fetch(types.MessagesOut, operation, {**fields, "messages": messages})

    def messages(
        self,
        id: str | None = None,
        *,
        external_id: str | None = None,
        **options: Unpack[types.ConversationsListMessagesOptions],
    ) -> AsyncPages[types.MessageOut]:
        """Return a conversation's messages in order. `limit` is the page size."""
        operation, fields = _named("conversations.list_messages", id, external_id)
        return AsyncPages(self._caller, operation, {**options, **fields})

    async def update(self, id: str, /, **changes: Unpack[types.ConversationsUpdateOptions]) -> types.ChangedOut:
        """Change the given fields of a conversation, and leave the others unchanged."""
        return await self._caller.fetch(types.ChangedOut, "conversations.update", {**changes, "id": id})

    async def set_label(self, id: str, label: str) -> types.ChangedOut:
        """Change a conversation's label."""
        return await self._caller.fetch(types.ChangedOut, "conversations.set_label", {"id": id, "label": label})

    async def set_folder(self, id: str, folder: str) -> types.ChangedOut:
        """Move a conversation to a folder."""
        return await self._caller.fetch(types.ChangedOut, "conversations.set_folder", {"id": id, "folder": folder})

    async def set_status(self, id: str, status: Status) -> types.ChangedOut:
        """Activate, pin or archive a conversation."""
        return await self._caller.fetch(types.ChangedOut, "conversations.set_status", {"id": id, "status": status})

    async def pin(self, id: str) -> types.ChangedOut:
        """Pin a conversation, and set its importance to 10."""
        return await self._caller.fetch(types.ChangedOut, "conversations.pin", {"id": id})

    async def archive(self, id: str) -> types.ChangedOut:
        """Archive a conversation: searches and contexts skip it unless they include archived conversations."""
        return await self._caller.fetch(types.ChangedOut, "conversations.archive", {"id": id})

    async def delete(self, id: str, *, purge: bool = False) -> types.ConversationDeletedOut:
        """Delete a conversation. It can be restored during the retention period, unless `purge` is true."""
        fields: Fields = {"id": id, "purge": purge}
        return await self._caller.fetch(types.ConversationDeletedOut, "conversations.delete", fields)

    def deleted(
        self, **options: Unpack[types.ConversationsListDeletedOptions]
    ) -> AsyncPages[types.DeletedConversationOut]:
        """Return the deleted conversations that can still be restored. `limit` is the page size."""
        return AsyncPages(self._caller, "conversations.list_deleted", {**options})

    async def restore(self, id: str) -> types.ChangedOut:
        """Restore a deleted conversation with its messages, summaries, facts and links."""
        return await self._caller.fetch(types.ChangedOut, "conversations.restore", {"id": id})

    async def search(
        self, query: str, /, **options: Unpack[types.MessagesSearchOptions]
    ) -> Results[types.QueryResultOut]:
        """Search messages by meaning and keyword."""
        body = await self._caller.fetch(types.QueryOut, "messages.search", {**options, "query": query})
        return Results(body["results"], body)

    async def search_full_text(
        self, query: str, /, **options: Unpack[types.MessagesSearchFullTextOptions]
    ) -> Results[types.FullTextResultOut]:
        """Search messages by words, "phrases" and prefixes*, combined with AND, OR, NOT and parentheses."""
        body = await self._caller.fetch(types.FullTextOut, "messages.search_full_text", {**options, "query": query})
        return Results(body["results"], body)

    async def summarize(
        self, id: str, **options: Unpack[types.SummariesCreateForConversationOptions]
    ) -> types.SummaryOut:
        """Summarise a day, a week or a month of a conversation."""
        fields = {**options, "id": id}
        return await self._caller.fetch(types.SummaryOut, "summaries.create_for_conversation", fields)

    async def suggest_labels(self, id: str) -> Suggestions:
        """Suggest labels for a conversation."""
        return await self._caller.fetch(Suggestions, "labels.suggest_for_conversation", {"id": id})

    async def extract_facts(self, id: str) -> types.ExtractionOut:
        """Extract facts from a conversation in the background. Requires a language model on the server."""
        return await self._caller.fetch(types.ExtractionOut, "facts.extract", {"id": id})

    def facts(self, id: str, **options: Unpack[types.FactsListOptions]) -> AsyncPages[types.FactOut]:
        """Return the facts extracted from a conversation."""
        return AsyncPages(self._caller, "facts.list", {**options, "id": id})

    async def rate_message(self, id: str) -> types.RatedOut:
        """Rate a message's importance."""
        return await self._caller.fetch(types.RatedOut, "messages.rate", {"id": id})

    async def export(self, **options: Unpack[types.ConversationsExportOptions]) -> str:
        """Return conversations as JSON (the default) or, depending on `format`, as JSON lines or Markdown."""
        return await self._caller.text("conversations.export", {**options})

    async def import_file(
        self, content: bytes, content_type: str, **options: Unpack[types.ConversationsImportOptions]
    ) -> types.ImportOut:
        """Import conversations from a ChatGPT, Claude or SomaMemory export, or from Markdown or text."""
        request = self._caller.config.request("conversations.import", {**options})
        request.body = file_content(content)
        request.headers["Content-Type"] = header_text("content_type", content_type)
        result: types.ImportOut = await self._caller.document(request)
        return result


def _named(operation: str, id: str | None, external_id: str | None) -> tuple[str, Fields]:
    if one_name(id=id, external_id=external_id) == "id":
        return operation, {"id": id}
    return f"{operation}_by_external_id", {"external_id": external_id}
