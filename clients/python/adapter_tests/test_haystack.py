"""The document store for Haystack passes the framework's own suite."""

from __future__ import annotations

import pytest
from haystack import Document, Pipeline
from haystack.dataclasses import ByteStream
from haystack.document_stores.errors import DuplicateDocumentError
from haystack.document_stores.types import DocumentStore
from haystack.errors import FilterError
from haystack.testing.document_store import DocumentStoreBaseExtendedTests

from somamemory_client import Client
from somamemory_client.adapters.haystack import SomaDocumentRetriever, SomaDocumentStore


@pytest.fixture
def document_store(client: Client, place: str) -> SomaDocumentStore:
    return SomaDocumentStore(client, place)


class TestSuite(DocumentStoreBaseExtendedTests):
    """The framework's suite, in which each store tests its own default policy."""

    @pytest.fixture
    def document_store(self, client: Client, place: str) -> SomaDocumentStore:  # type: ignore[override]
        return SomaDocumentStore(client, place)

    def test_write_documents(self, document_store: DocumentStore) -> None:
        document = Document(content="once")
        assert document_store.write_documents([document]) == 1
        with pytest.raises(DuplicateDocumentError):
            document_store.write_documents([document])
        assert document_store.filter_documents() == [document]


def test_a_document_is_returned_unchanged(document_store: SomaDocumentStore) -> None:
    document = Document(content="é", blob=ByteStream(b"\x00\xff"), meta={"a": {"b": [1, None]}}, embedding=[0.1, 0.2])
    document_store.write_documents([document])
    assert document_store.filter_documents() == [document]


def test_a_pipeline_finds_documents_by_meaning_and_filter(document_store: SomaDocumentStore) -> None:
    texts = [("I drink coffee in the morning", "ada"), ("I drink tea in the evening", "ben"), ("Bern is old", "ada")]
    document_store.write_documents([Document(content=text, meta={"by": by}) for text, by in texts])
    pipeline = Pipeline()
    pipeline.add_component("retriever", SomaDocumentRetriever(document_store, top_k=1))
    by_ben = {"field": "meta.by", "operator": "==", "value": "ben"}
    for filters, expected in ((None, texts[0]), (by_ben, texts[1])):
        result = pipeline.run({"retriever": {"query": "coffee in the morning", "filters": filters}})
        (found,) = result["retriever"]["documents"]
        assert (found.content, found.meta["by"]) == expected
        assert found.score > 0


def test_a_store_with_a_scope_counts_its_own_documents_only(client: Client, place: str) -> None:
    ada, ben = (SomaDocumentStore(client.user(f"{place}/{user}"), place) for user in ("ada", "ben"))
    ada.write_documents([Document(content="tea")])
    ben.write_documents([Document(content="coffee"), Document(content="juice")])
    assert (ada.count_documents(), ben.count_documents()) == (1, 2)
    assert SomaDocumentStore(client.namespace("elsewhere"), place).count_documents() == 3


def test_a_query_may_be_longer_than_the_service_accepts(document_store: SomaDocumentStore) -> None:
    document_store.write_documents([Document(content="Ada drinks coffee")])
    found = SomaDocumentRetriever(document_store).run("coffee " * 2000)["documents"]
    assert [document.content for document in found] == ["Ada drinks coffee"]


def test_a_search_refuses_a_filter_that_the_service_cannot_apply(document_store: SomaDocumentStore) -> None:
    later = {"field": "meta.date", "operator": ">", "value": "2026-01-01"}
    with pytest.raises(FilterError):
        document_store.search("coffee", filters=later)


def test_documents_with_more_numbers_than_a_request_may_have_are_stored(document_store: SomaDocumentStore) -> None:
    documents = [Document(id=str(number), content="tea", embedding=[0.5] * 1536) for number in range(400)]
    assert document_store.write_documents(documents) == 400


@pytest.mark.parametrize("excess", ["length", "depth", "size"])
def test_a_filter_that_is_too_large_for_the_service_selects_documents(
    document_store: SomaDocumentStore, excess: str
) -> None:
    document_store.write_documents([Document(content=by, meta={"by": by}) for by in ("ada", "ben")])
    filters = {"field": "meta.by", "operator": "in", "value": ["ada"]}
    if excess in ("length", "size"):
        count = 500 if excess == "length" else 5000
        filters["value"] = ["ada", *(f"another person {number}" for number in range(count))]
    for _ in range(9 if excess == "depth" else 0):
        filters = {"operator": "AND", "conditions": [filters]}
    assert [document.content for document in document_store.filter_documents(filters)] == ["ada"]


def test_a_list_is_compared_as_a_whole(document_store: SomaDocumentStore) -> None:
    document_store.write_documents([Document(content="one", id="1", meta={"tags": "a"})])
    document_store.write_documents([Document(content="both", id="2", meta={"tags": ["a", "b"]})])
    equal = {"field": "meta.tags", "operator": "==", "value": ["a", "b"]}
    assert [document.id for document in document_store.filter_documents(equal)] == ["2"]
    assert [document.id for document in document_store.filter_documents({**equal, "operator": "!="})] == ["1"]
    with pytest.raises(FilterError):
        document_store.search("one", filters=equal)


def test_a_retriever_is_saved_and_loaded_without_the_key(
    document_store: SomaDocumentStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOMA_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("SOMA_API_KEY", "secret")
    saved = SomaDocumentRetriever(document_store, top_k=3).to_dict()
    assert "secret" not in str(saved)
    assert SomaDocumentRetriever.from_dict(saved).document_store.namespace == document_store.namespace
