"""LlamaIndex: `SomaMemoryBlock`, a block of long-term memory, with the asynchronous client.

    block = SomaMemoryBlock(client=AsyncClient().user("ada"))
    memory = Memory.from_defaults(session_id="thread-1", memory_blocks=[block])

Messages that leave the short-term memory are appended to the conversation whose `external_id` is the session's id.
In this id, characters other than letters, digits, `.`, `_` and `-` are escaped. The end of a long id is replaced with a
hash.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.memory import BaseMemoryBlock

from somamemory_client import AsyncClient, types
from somamemory_client.adapters._calls import requests
from somamemory_client.adapters._namespaces import MAX_ID, fitted, path_segment

MAX_QUERY = 2000  # characters
_ROLES: Mapping[str, Literal["user", "assistant", "system", "tool"]] = {
    "user": "user",
    "system": "system",
    "developer": "system",
    "tool": "tool",
    "function": "tool",
}


class SomaMemoryBlock(BaseMemoryBlock[str]):
    """Recalls stored messages and memories that are relevant to the user's latest message.

    client: a client with a scope, such as `client.user("ada")`, recalls and stores only in that scope.
    options: additional fields for a context, such as `namespaces` or `min_relevance`.
    """

    name: str = "SomaMemory"
    client: AsyncClient
    context_budget: int = 1000
    options: Mapping[str, Any] = {}

    async def _aget(self, messages: list[ChatMessage] | None = None, **block_kwargs: Any) -> str:
        texts = (_text(message).strip() for message in reversed(messages or []) if message.role == "user")
        query = next((text for text in texts if text), "")[:MAX_QUERY]
        if not query:
            return ""
        options: Any = {**self.options, "context_budget": self.context_budget}
        return (await self.client.context.prompt(query, **options))["text"] or ""

    async def _aput(self, messages: list[ChatMessage]) -> None:
        sessions: defaultdict[str, list[types.MessageBody]] = defaultdict(list)
        for message in messages:
            if (text := _text(message)).strip():
                session = str(message.additional_kwargs.get("session_id") or "default")
                sessions[session].append({"role": _ROLES.get(message.role, "assistant"), "content": text})
        for session, bodies in sessions.items():
            await self._append(session, bodies)

    async def _append(self, session: str, bodies: Sequence[types.MessageBody]) -> None:
        name = fitted(path_segment(session), MAX_ID)
        await self.client.conversations.create(external_id=name)
        for some in requests(bodies):
            await self.client.conversations.append(some, external_id=name)

    async def atruncate(self, content: str, tokens_to_truncate: int) -> str | None:
        """Return nothing, because a truncated context would lack its citations."""
        return None


def _text(message: ChatMessage) -> str:
    return message.content or ""
