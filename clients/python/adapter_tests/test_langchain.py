"""LangChain's own tests for retrievers and vector stores, and our tests for the chat history."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_tests.integration_tests import RetrieversIntegrationTests, VectorStoreIntegrationTests

from somamemory_client import Client, InvalidArgument
from somamemory_client.adapters._namespaces import external_id_of, segment
from somamemory_client.adapters.langchain import SomaChatHistory, SomaRetriever, SomaVectorStore


class TestVectorStore(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, client: Client, place: str) -> Iterator[SomaVectorStore]:
        store = SomaVectorStore(client, place)
        yield store
        store.delete()


class TestRetriever(RetrieversIntegrationTests):
    @pytest.fixture(autouse=True)
    def _memories(self, client: Client, place: str) -> None:
        client.memories.store_many([{"payload": {"text": f"Ada drinks {what}"}, "namespace": place} for what in "abcd"])
        self.params = {"client": client, "options": {"namespace": place}}

    @property
    def retriever_constructor(self) -> type[SomaRetriever]:
        return SomaRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return self.params

    @property
    def retriever_query_example(self) -> str:
        return "What does Ada drink?"


def test_texts_that_are_larger_than_a_request_are_stored(client: Client, place: str) -> None:
    store = SomaVectorStore(client, place)
    store.add_texts(["tea " * 1_000_000] * 3, ids=["1", "2", "3"])
    assert [document.id for document in store.get_by_ids(["1", "2", "3"])] == ["1", "2", "3"]


@pytest.mark.parametrize(("query", "count"), [("coffee " * 2000, 1), ("", 0), (" ", 0)])
def test_any_text_can_be_a_query(client: Client, place: str, query: str, count: int) -> None:
    store = SomaVectorStore(client, place)
    store.add_texts(["Ada drinks coffee"])
    assert len(store.similarity_search(query)) == count
    assert len(SomaRetriever(client=client, options={"namespace": place}).invoke(query)) == count


def test_a_search_of_a_vector_store_applies_a_filter_and_returns_scores(client: Client, place: str) -> None:
    colors = [{"color": "red"}, {"color": "blue"}]
    store = SomaVectorStore.from_texts(["apple", "apple"], None, colors, client=client, namespace=place)
    [(document, score)] = store.similarity_search_with_relevance_scores("apple", filter={"metadata.color": "blue"})
    assert document.metadata == {"color": "blue"}
    assert 0 < score <= 1


def test_an_embedding_of_the_program_is_refused(client: Client, place: str) -> None:
    with pytest.raises(InvalidArgument, match="embedding"):
        SomaVectorStore.from_texts(["apple"], DeterministicFakeEmbedding(size=3), client=client, namespace=place)


@pytest.fixture
def session(place: str) -> str:
    return place.replace("/", "-")  # a conversation id must not contain a slash


def test_a_chat_history_returns_the_messages_as_they_were_added(client: Client, session: str) -> None:
    history = SomaChatHistory(client, session, user_id="ada")
    assert history.messages == []
    history.clear()
    messages = [
        SystemMessage("Be brief."),
        HumanMessage([{"type": "text", "text": "Weather?"}, {"type": "image_url", "image_url": "https://x/y.png"}]),
        AIMessage("", tool_calls=[{"id": "1", "name": "weather", "args": {"city": "Bern"}}]),
        ToolMessage("sunny", tool_call_id="1"),
        AIMessage("Sunny.", id="run-1"),
    ]
    history.add_messages(messages[:2])
    history.add_messages(messages[2:])
    assert SomaChatHistory(client, session).messages == messages
    history.clear()
    assert history.messages == []
    history.add_user_message("Again")
    assert [message.content for message in history.messages] == ["Again"]


@pytest.mark.parametrize(
    "message",
    [
        AIMessage(""),
        AIMessage(" \n"),
        HumanMessage([{"type": "image_url", "image_url": "https://x/y.png"}]),
        ToolMessage("", tool_call_id="1"),
    ],
)
def test_a_chat_history_contains_messages_without_text(client: Client, session: str, message: BaseMessage) -> None:
    history = SomaChatHistory(client, session)
    history.add_messages([HumanMessage("Hello"), message])
    assert history.messages == [HumanMessage("Hello"), message]


def test_a_chat_history_contains_the_messages_of_other_programs(client: Client, session: str) -> None:
    client.conversations.create(external_id=session, messages=[{"role": "user", "content": "Hello"}])
    assert SomaChatHistory(client, session).messages == [HumanMessage("Hello")]


def test_any_number_of_messages_can_be_added_to_a_history(client: Client, place: str) -> None:
    history = SomaChatHistory(client, segment(place))
    history.add_messages([HumanMessage(str(number)) for number in range(1001)])
    assert [message.content for message in history.messages] == [str(number) for number in range(1001)]


def test_no_messages_can_be_added_to_a_history(client: Client, place: str) -> None:
    history = SomaChatHistory(client, place.replace("/", "-"))
    history.add_messages([])
    assert history.messages == []


def test_any_text_can_be_a_session_id(client: Client, unusual: str) -> None:
    ids = {unusual, unusual + "x", external_id_of(unusual)}
    histories = [SomaChatHistory(client, id) for id in ids]
    for history in histories:
        history.add_user_message("Hello")
    assert [history.messages for history in histories] == [[HumanMessage("Hello")]] * len(ids)
    for history in histories:
        history.clear()
        assert history.messages == []
