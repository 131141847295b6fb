"""Pydantic AI: `SomaConversationStore`, a store for conversations that several processes can continue.

    store = SomaConversationStore(AsyncClient())
    conversation = await store.load("thread-1") or Conversation(conversation_id="thread-1")
    await store.save(await agent.run("Hello", conversation=conversation))

Each record and each entry is a memory. Entries that share a history have the same `session_id`, so that any history can
be read with one request per 1,000 entries.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from pydantic import TypeAdapter
from pydantic_ai.conversation_store import (
    ConversationConflict,
    ConversationEntry,
    ConversationRecord,
    ConversationStore,
)
from pydantic_ai.messages import (
    ModelMessage,
    ModelMessagesTypeAdapter,
    ModelRequestPart,
    ModelResponsePart,
    TextPart,
    UserPromptPart,
)

from somamemory_client import AsyncClient, NotFound, PreconditionFailed, types
from somamemory_client.adapters._calls import MOST, requests, slices
from somamemory_client.adapters._namespaces import MAX_KEY, fitted, hashed

_RECORDS = TypeAdapter(ConversationRecord)


class SomaConversationStore(ConversationStore):
    """A conversation store, with the asynchronous client.

    namespace: the namespace that contains the namespaces for records and entries.

    `delete` also deletes the entries, unless another conversation was forked from the same history. A fork that is
    saved during the deletion can lose its history.
    """

    def __init__(self, client: AsyncClient, namespace: str = "pydantic-ai") -> None:
        self._memories = client.memories
        self._records = f"{namespace}/conversations"
        self._entries = f"{namespace}/entries"

    async def read_record(self, conversation_id: str) -> ConversationRecord | None:
        memory = await self._stored(conversation_id)
        return memory and _record(memory)

    async def read_records(self, *, scope: str | None = None, limit: int | None = None) -> Sequence[ConversationRecord]:
        if limit == 0:
            return []
        filters = json.dumps({"metadata.record.scope": scope}) if scope is not None else None
        size = min(limit or MOST, MOST)
        pages = self._memories.list(namespace=self._records, filters=filters, order="-updated_at", limit=size)
        records: list[ConversationRecord] = []
        async for memory in pages:
            records.append(_record(memory))
            if len(records) == limit:
                break
        return records

    async def write_record(
        self,
        record: ConversationRecord,
        *,
        new_entries: Sequence[ConversationEntry] = (),
        expected_revision: str | None,
    ) -> None:
        stored = await self._stored(record.conversation_id)
        if (_record(stored).revision if stored else None) != expected_revision:
            raise ConversationConflict(record.conversation_id)
        history = await self._history_id(record, new_entries, stored)
        await self._store_entries(new_entries, history)
        try:
            await self._memories.store(
                {},
                key=_key(record.conversation_id),
                namespace=self._records,
                session_id=history,
                metadata={"record": _RECORDS.dump_python(record, mode="json")},
                **_precondition(stored),
            )
        except PreconditionFailed:
            for some in slices([entry.id for entry in new_entries]):
                await self._memories.delete_many(namespace=self._entries, keys=some)
            raise ConversationConflict(record.conversation_id) from None

    async def delete_record(self, conversation_id: str, *, expected_revision: str) -> None:
        stored = await self._stored(conversation_id)
        if stored is None or _record(stored).revision != expected_revision:
            raise ConversationConflict(conversation_id)
        try:
            await self._memories.delete(key=_key(conversation_id), namespace=self._records, **_precondition(stored))
        except (NotFound, PreconditionFailed):
            raise ConversationConflict(conversation_id) from None
        history = stored["session_id"]
        async for _ in self._memories.list(namespace=self._records, session_id=history, limit=1):
            return
        while not (await self._memories.delete_matching(namespace=self._entries, session_id=history))["complete"]:
            pass

    async def read_entry(self, entry_id: str) -> ConversationEntry:
        return _entry(await self._entry_memory(entry_id))

    async def read_history(self, head_id: str | None, *, limit: int | None = None) -> list[ConversationEntry]:
        """Return the entries from the first one up to `head_id`, or the last `limit` of these entries.

        Entries are read newest first, until the chain is complete.
        """
        if head_id is None or limit == 0:
            return []
        head = await self._entry_memory(head_id)
        later = self._entries_of(head["session_id"])
        read: dict[str, ConversationEntry] = {}
        history = [_entry(head)]
        while (parent := history[-1].parent_id) is not None and len(history) != limit:
            while parent not in read:
                entry = await anext(later, None)
                if entry is None:
                    raise LookupError(f"entry {parent} is not in the store")
                read[entry.id] = entry
            history.append(read[parent])
        return history[::-1]

    async def _entries_of(self, history: str | None) -> AsyncIterator[ConversationEntry]:
        pages = self._memories.list(namespace=self._entries, session_id=history, order="-coordinate", limit=MOST)
        async for memory in pages:
            yield _entry(memory)

    async def _stored(self, conversation_id: str) -> types.MemoryOut | None:
        try:
            return await self._memories.get(key=_key(conversation_id), namespace=self._records)
        except NotFound:
            return None

    async def _entry_memory(self, entry_id: str) -> types.MemoryOut:
        try:
            return await self._memories.get(key=entry_id, namespace=self._entries)
        except NotFound:
            raise LookupError(f"entry {entry_id} is not in the store") from None

    async def _history_id(
        self, record: ConversationRecord, new: Sequence[ConversationEntry], stored: types.MemoryOut | None
    ) -> str:
        """Return the `session_id` for new entries: that of the history that they continue, or a new one."""
        if record.head_id is not None and record.head_id not in {entry.id for entry in new}:
            try:
                head = await self._entry_memory(record.head_id)
            except LookupError:
                raise ConversationConflict(record.conversation_id) from None
            return str(head["session_id"])
        return str(stored["session_id"]) if stored else record.revision

    async def _store_entries(self, entries: Sequence[ConversationEntry], history: str) -> None:
        items: list[types.StoreBody] = [
            {
                "namespace": self._entries,
                "key": entry.id,
                "session_id": history,
                "payload": _payload(entry.message),
                "metadata": {
                    "parent_id": entry.parent_id,
                    "message": ModelMessagesTypeAdapter.dump_python([entry.message], mode="json")[0],
                },
            }
            for entry in entries
        ]
        for some in requests(items):
            await self._memories.store_many(some, atomic=True)


def _key(conversation_id: str) -> str:
    """Return the key for a conversation: its id, or the beginning and a hash of an id that cannot be a key."""
    cannot_be_key = not conversation_id or not {".", ".."}.isdisjoint(conversation_id.split("/"))
    return hashed(conversation_id, MAX_KEY) if cannot_be_key else fitted(conversation_id, MAX_KEY)


def _precondition(stored: types.MemoryOut | None) -> Any:
    return {"if_match": f'"{stored["version"]}"'} if stored else {"if_none_match": "*"}


def _record(memory: types.MemoryOut) -> ConversationRecord:
    return _RECORDS.validate_python(memory["metadata"]["record"])


def _entry(memory: types.MemoryOut) -> ConversationEntry:
    metadata = memory["metadata"]
    (message,) = ModelMessagesTypeAdapter.validate_python([metadata["message"]])
    return ConversationEntry(id=str(memory["key"]), parent_id=metadata["parent_id"], message=message)


def _payload(message: ModelMessage) -> Mapping[str, object]:
    """Return the searchable payload: the text of a prompt or response, without tool calls."""
    texts = [text for part in message.parts for text in _texts(part)]
    role = "user" if message.kind == "request" else "assistant"
    return {"text": "\n".join(texts), "role": role} if texts else {}


def _texts(part: ModelRequestPart | ModelResponsePart) -> list[str]:
    if isinstance(part, TextPart):
        return [part.content] if part.content else []
    if not isinstance(part, UserPromptPart):
        return []
    contents = [part.content] if isinstance(part.content, str) else part.content
    return [content for content in contents if isinstance(content, str) and content]
