"""LangChain's own tests of retrievers and vector stores."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_tests.integration_tests import RetrieversIntegrationTests, VectorStoreIntegrationTests

from somamemory_client import Client, InvalidArgument
from somamemory_client.adapters.langchain import SomaRetriever, SomaVectorStore


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


def test_a_search_of_a_vector_store_applies_a_filter_and_returns_scores(client: Client, place: str) -> None:
    colors = [{"color": "red"}, {"color": "blue"}]
    store = SomaVectorStore.from_texts(["apple", "apple"], None, colors, client=client, namespace=place)
    [(document, score)] = store.similarity_search_with_relevance_scores("apple", filter={"metadata.color": "blue"})
    assert document.metadata == {"color": "blue"}
    assert 0 < score <= 1


def test_an_embedding_of_the_program_is_refused(client: Client, place: str) -> None:
    with pytest.raises(InvalidArgument, match="embedding"):
        SomaVectorStore.from_texts(["apple"], DeterministicFakeEmbedding(size=3), client=client, namespace=place)
