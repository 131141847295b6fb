"""OpenAI Agents: `SomaSession`, which stores the items of a session.

    await Runner.run(agent, "Hello", session=SomaSession("thread-1", AsyncClient()))

Each item is a memory at a coordinate that the service allocates, so items stay in the order in which they were added.
"""

from __future__ import annotations

from typing import Any, cast

from agents import SessionSettings, TResponseInputItem
from agents.memory.session import SessionABC

from somamemory_client import AsyncClient
from somamemory_client.adapters._calls import Calls, pages, requests, run_async
from somamemory_client.adapters._namespaces import MAX_NAMESPACE, fitted, segment


class SomaSession(SessionABC):
    """A session, with the asynchronous client.

    namespace: the namespace that contains the sessions' namespaces.
    session_settings: its `limit` is the number of items that `get_items` returns by default.
    """

    def __init__(
        self,
        session_id: str,
        client: AsyncClient,
        *,
        namespace: str = "openai-agents",
        session_settings: SessionSettings | None = None,
    ) -> None:
        self.session_id = session_id
        self.session_settings = session_settings
        self._client = client
        self._root = namespace

    @property
    def _place(self) -> str:
        return f"{self._root}/{fitted(segment(self.session_id), MAX_NAMESPACE - len(self._root) - 1)}"

    async def get_items(self, limit: int | None = None) -> list[TResponseInputItem]:
        """Return all items, or the latest `limit` items, oldest first."""
        if limit is None and self.session_settings is not None:
            limit = self.session_settings.limit
        if limit is not None and limit <= 0:
            return []
        found = await run_async(self._client, self._latest(limit))
        return [_item(memory) for memory in reversed(found)]

    async def add_items(self, items: list[TResponseInputItem]) -> None:
        """Append items. Items that fit in a request, at most 1,000, are stored in one transaction."""
        bodies = [{"namespace": self._place, "payload": _payload(item), "metadata": {"item": item}} for item in items]
        for some in requests(bodies):
            await self._client.memories.store_many(some, atomic=True)

    async def pop_item(self) -> TResponseInputItem | None:
        """Delete and return the latest item. Concurrent calls never return the same item."""
        while found := await run_async(self._client, self._latest(1)):
            if (await self._client.memories.delete_many(ids=[found[0]["id"]]))["deleted"]:
                return _item(found[0])
        return None

    async def clear_session(self) -> None:
        """Delete all items in the session."""
        while not (await self._client.memories.delete_matching(namespace=self._place, all=True))["complete"]:
            pass

    def _latest(self, limit: int | None) -> Calls[list[Any]]:
        size = min(limit or 1000, 1000)
        return pages("memories.list", most=limit, namespace=self._place, order="-coordinate", limit=size)


def _item(memory: Any) -> TResponseInputItem:
    return cast("TResponseInputItem", memory["metadata"]["item"])


def _payload(item: Any) -> dict[str, object]:
    """Return the searchable payload: the text of a message, or nothing for a tool call."""
    content = item.get("content")
    parts = [{"text": content}] if isinstance(content, str) else content if isinstance(content, list) else []
    text = "\n".join(str(part["text"]) for part in parts if isinstance(part, dict) and part.get("text"))
    return {"text": text, "role": str(item.get("role", ""))} if text else {}
