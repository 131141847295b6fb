"""LangChain: `SomaRetriever`, `SomaVectorStore` and `SomaChatHistory`, with the synchronous client.

The asynchronous methods run in threads, which is LangChain's default.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, cast
from uuid import uuid4

from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.messages import AIMessage, BaseMessage, message_to_dict, messages_from_dict
from langchain_core.retrievers import BaseRetriever
from langchain_core.vectorstores import VectorStore

from somamemory_client import Client, InvalidArgument, NotFound, types
from somamemory_client.adapters._calls import as_query, memories, requests, run, slices
from somamemory_client.adapters._namespaces import external_id_of

Mode = Literal["hybrid", "semantic", "keyword"]
Filter = Mapping[str, Any]  # conditions, as in the API, such as {"metadata.color": "red"}
_ROLES: dict[str, Literal["user", "assistant", "system", "tool"]] = {
    "human": "user",
    "ai": "assistant",
    "system": "system",
    "tool": "tool",
}
# The content of a message without text, because the service rejects blank text. The metadata contains the message.
_WITHOUT_TEXT = [{"type": "langchain"}]
_TYPES = {role: kind for kind, role in _ROLES.items()} | {"developer": "system"}


class SomaRetriever(BaseRetriever):
    """Retrieves memories, including those that other programs have stored.

    client: a client with a scope, such as `client.user("ada")`, finds only memories in that scope.
    options: additional fields for a search, such as `namespace` or `filters`.
    """

    client: Client
    k: int = 4
    options: Mapping[str, Any] = {}

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, k: int | None = None
    ) -> list[Document]:
        text = as_query(query)
        if not text:
            return []
        options = cast(types.MemoriesSearchOptions, {**self.options, "top_k": k or self.k})
        return [_document(hit) for hit in self.client.memories.search(text, **options)]


class SomaVectorStore(VectorStore):
    """Stores documents as memories, with the documents' ids as keys. The service embeds the texts.

    mode: the search mode: "hybrid", "semantic" or "keyword".
    """

    def __init__(self, client: Client, namespace: str = "langchain", *, mode: Mode = "hybrid") -> None:
        self._client = client
        self._namespace = namespace
        self._mode = mode

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Store texts, and return their ids. A text replaces any stored text with the same id."""
        given = list(texts)
        keys = [id or str(uuid4()) for id in ids or [None] * len(given)]
        items: list[types.StoreBody] = [
            {"namespace": self._namespace, "key": key, "payload": {"text": text}, "metadata": metadata}
            for key, text, metadata in zip(keys, given, metadatas or [{}] * len(given), strict=True)
        ]
        for some in requests(items):
            self._client.memories.store_many(some, atomic=True)
        return keys

    def delete(self, ids: list[str] | None = None, **kwargs: Any) -> bool:
        """Delete the documents with these ids, or all documents. Unknown ids are ignored."""
        if ids is None:
            while not self._client.memories.delete_matching(namespace=self._namespace, all=True)["complete"]:
                pass
        for keys in slices(ids or []):
            self._client.memories.delete_many(namespace=self._namespace, keys=keys)
        return True

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Return the existing documents with these ids."""
        found = run(self._client, memories("keys", ids, self._namespace))
        return [_document(memory) for memory in found if memory is not None]

    def similarity_search(self, query: str, k: int = 4, filter: Filter | None = None, **kwargs: Any) -> list[Document]:
        """Return the `k` best documents for a query. `filter`: conditions as in the API."""
        return [document for document, _ in self.similarity_search_with_score(query, k, filter)]

    def similarity_search_with_score(
        self, query: str, k: int = 4, filter: Filter | None = None
    ) -> list[tuple[Document, float]]:
        """Return the `k` best documents with their scores, from 0 to 1."""
        text = as_query(query)
        if not text:
            return []
        place, mode = self._namespace, self._mode
        hits = self._client.memories.search(text, namespace=place, mode=mode, top_k=k, filters=filter)
        return [(_document(hit), hit["score"]) for hit in hits]

    def _similarity_search_with_relevance_scores(
        self, query: str, k: int = 4, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        return self.similarity_search_with_score(query, k, **kwargs)

    @classmethod
    def from_texts(  # type: ignore[override]  # a store needs a client
        cls,
        texts: list[str],
        embedding: Embeddings | None,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        client: Client,
        namespace: str = "langchain",
        mode: Mode = "hybrid",
    ) -> SomaVectorStore:
        """Return a store that contains the texts. `embedding` must be None, because the service embeds the texts."""
        if embedding is not None:
            raise InvalidArgument("embedding", "must be None; the service embeds the texts with its own model")
        store = cls(client, namespace, mode=mode)
        store.add_texts(texts, metadatas, ids=ids)
        return store


class SomaChatHistory(BaseChatMessageHistory):
    """The messages in a session, stored in the conversation whose `external_id` is the session's id.

    A session id that the service does not accept, such as one with a slash, is replaced with its beginning and a hash.
    options: fields for creating the conversation, such as `user_id` or `label`.
    """

    def __init__(self, client: Client, session_id: str, **options: Any) -> None:
        self._client = client
        self._id = external_id_of(session_id)
        self._options = options

    @property
    def messages(self) -> list[BaseMessage]:  # type: ignore[override]  # read from the service each time
        try:
            stored = list(self._client.conversations.messages(external_id=self._id, limit=200))
        except NotFound:
            return []
        return messages_from_dict([_message(message) for message in stored])

    def add_messages(self, messages: Sequence[BaseMessage]) -> None:
        """Append messages. Messages that fit in a request, at most 1,000, are stored in one transaction."""
        if not messages:
            return
        bodies = [_body(message) for message in messages]
        self._client.conversations.create(external_id=self._id, **self._options)
        for some in requests(bodies):
            self._client.conversations.append(some, external_id=self._id)

    def clear(self) -> None:
        """Delete the conversation. The service can restore it during the retention period."""
        with contextlib.suppress(NotFound):
            self._client.conversations.delete(self._client.conversations.get(external_id=self._id)["id"])


def _document(memory: Mapping[str, Any]) -> Document:
    payload = memory["payload"]
    text = payload.get("text")
    content = text if isinstance(text, str) else json.dumps(payload, ensure_ascii=False)
    return Document(id=memory["key"] or memory["id"], page_content=content, metadata=memory["metadata"])


def _message(message: types.MessageOut) -> dict[str, Any]:
    """Return a message in LangChain's format, even if another program appended it."""
    data = {"content": message["content"]} | ({"tool_call_id": ""} if message["role"] == "tool" else {})
    plain = {"type": _TYPES[message["role"]], "data": data}
    found: dict[str, Any] = message["metadata"].get("langchain", plain)
    return found


def _body(message: BaseMessage) -> types.MessageBody:
    body: types.MessageBody = {
        "role": _ROLES.get(message.type, "assistant"),
        "content": str(message.text),
        "metadata": {"langchain": message_to_dict(message)},
    }
    if isinstance(message, AIMessage) and message.tool_calls:
        body["tool_calls"] = [dict(call) for call in message.tool_calls]
    elif not str(message.text).strip():
        body["content"] = _WITHOUT_TEXT
    return body
