"""Haystack: `SomaDocumentStore` and `SomaDocumentRetriever`, with the synchronous client.

store = SomaDocumentStore(Client())
store.write_documents([Document(content="Ada drinks coffee")])
pipeline.add_component("retriever", SomaDocumentRetriever(store, top_k=3))
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from haystack import Document, component, default_from_dict, default_to_dict
from haystack.document_stores.errors import DuplicateDocumentError
from haystack.document_stores.types import DuplicatePolicy
from haystack.errors import FilterError
from haystack.utils.filters import document_matches_filter

from somamemory_client import Client, InvalidArgument, InvalidInput, UriTooLong, types
from somamemory_client.adapters._calls import as_query, memories, requests, run, slices, without_scope

Filter = dict[str, Any]
Mode = Literal["hybrid", "semantic", "keyword"]
_COMBINATIONS = ("AND", "OR", "NOT")
_ORDERINGS = {">": "gt", ">=": "gte", "<": "lt", "<=": "lte"}


class SomaDocumentStore:
    """Stores documents as memories, with the documents' ids as keys. The service embeds the content.

    client: by default, a client with the settings from the environment. A pipeline that is loaded from a file always
    uses those settings.
    """

    def __init__(self, client: Client | None = None, namespace: str = "haystack") -> None:
        self.client = client or Client()
        self.namespace = namespace

    def to_dict(self) -> dict[str, Any]:
        """Return the settings, without the client, because the client contains the API key."""
        return default_to_dict(self, namespace=self.namespace)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> SomaDocumentStore:
        return default_from_dict(cls, data)

    def count_documents(self) -> int:
        client, ids = without_scope(self.client)
        if ids:  # the service counts all users' memories in a namespace
            return sum(1 for _ in self._list(None))
        listed = client.namespaces.list(prefix=self.namespace)
        count = next((item for item in listed if item["namespace"] == self.namespace), None)
        if count is None:
            return 0
        return count["memories"] if count["exact"] else sum(1 for _ in self._list(None))

    def filter_documents(self, filters: Filter | None = None) -> list[Document]:
        """Return the documents that match, in the order in which they were written.

        The service applies the filters, except comparisons of dates and nested values, filters on fields other than
        `meta`, and filters that are too large for a request. The adapter applies those to the service's results.
        """
        conditions, _ = _translated(filters) if filters else (None, True)
        try:
            listed = list(self._list(conditions))
        except (InvalidArgument, InvalidInput, UriTooLong):
            listed = list(self._list(None))
        documents = map(_document, listed)
        return [document for document in documents if not filters or document_matches_filter(filters, document)]

    def write_documents(self, documents: list[Document], policy: DuplicatePolicy = DuplicatePolicy.NONE) -> int:
        """Store documents. Documents that fit in a request, at most 1,000, are stored in one transaction.

        With the policies `NONE` and `FAIL`, nothing is stored if any of the ids already exists.
        """
        if not isinstance(documents, list) or not all(isinstance(document, Document) for document in documents):
            raise ValueError("documents must be a list of Documents")
        given = {document.id: document for document in documents}
        if policy != DuplicatePolicy.OVERWRITE:
            known = {document.id for document in self._read(list(given))}
            if policy != DuplicatePolicy.SKIP and (known or len(given) < len(documents)):
                raise DuplicateDocumentError(
                    f"documents with these ids already exist: {', '.join(sorted(known))}; use another policy"
                    if known
                    else "several of the documents have the same id; use another policy"
                )
            given = {id: document for id, document in given.items() if id not in known}
        for some in requests(self._memory(document) for document in given.values()):
            self.client.memories.store_many(some, atomic=True)
        return len(documents) if policy == DuplicatePolicy.OVERWRITE else len(given)

    def delete_documents(self, document_ids: list[str]) -> None:
        """Delete the documents with these ids. Unknown ids are ignored."""
        for keys in slices(document_ids):
            self.client.memories.delete_many(namespace=self.namespace, keys=keys)

    def delete_all_documents(self) -> None:
        while not self.client.memories.delete_matching(namespace=self.namespace, all=True)["complete"]:
            pass

    def delete_by_filter(self, filters: Filter) -> int:
        ids = [document.id for document in self.filter_documents(filters)]
        self.delete_documents(ids)
        return len(ids)

    def update_by_filter(self, filters: Filter, meta: dict[str, Any]) -> int:
        """Change fields of `meta` in the documents that match the filters. Return the number of documents."""
        documents = self.filter_documents(filters)
        for document in documents:
            document.meta.update(meta)
        return self.write_documents(documents, DuplicatePolicy.OVERWRITE)

    def search(
        self, query: str, filters: Filter | None = None, top_k: int = 10, mode: Mode = "hybrid"
    ) -> list[Document]:
        """Return the best documents for a query, with their scores. The service must be able to apply the filters."""
        conditions, exact = _translated(filters) if filters else (None, True)
        if not exact:
            raise FilterError(
                "search filters can only compare `meta` fields with numbers or strings, and cannot order dates; "
                "use filter_documents for other filters"
            )
        text, place = as_query(query), self.namespace
        hits = self.client.memories.search(text, namespace=place, filters=conditions, top_k=top_k, mode=mode)
        return [replace(_document(hit), score=hit["score"]) for hit in hits]

    def _read(self, ids: list[str]) -> list[Document]:
        found = run(self.client, memories("keys", ids, self.namespace))
        return [_document(memory) for memory in found if memory is not None]

    def _list(self, conditions: Filter | None) -> Any:
        filters = json.dumps(conditions) if conditions else None
        return self.client.memories.list(namespace=self.namespace, filters=filters, order="coordinate", limit=1000)

    def _memory(self, document: Document) -> types.StoreBody:
        payload = {"text": document.content} if document.content else {}
        metadata = {"document": document.to_dict(flatten=False)}
        return {"namespace": self.namespace, "key": document.id, "payload": payload, "metadata": metadata}


@component
class SomaDocumentRetriever:
    """Finds documents by meaning and keyword."""

    def __init__(
        self,
        document_store: SomaDocumentStore,
        filters: Filter | None = None,
        top_k: int = 10,
        mode: Mode = "hybrid",
    ) -> None:
        self.document_store = document_store
        self.filters = filters
        self.top_k = top_k
        self.mode = mode

    def to_dict(self) -> dict[str, Any]:
        store = self.document_store.to_dict()
        return default_to_dict(self, document_store=store, filters=self.filters, top_k=self.top_k, mode=self.mode)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> SomaDocumentRetriever:
        store = data["init_parameters"]["document_store"]
        if isinstance(store, Mapping):
            data["init_parameters"]["document_store"] = SomaDocumentStore.from_dict(dict(store))
        return default_from_dict(cls, data)

    @component.output_types(documents=list[Document])
    def run(self, query: str, filters: Filter | None = None, top_k: int | None = None) -> dict[str, list[Document]]:
        found = self.document_store.search(query, filters or self.filters, top_k or self.top_k, self.mode)
        return {"documents": found}


def _document(memory: Mapping[str, Any]) -> Document:
    return Document.from_dict(memory["metadata"]["document"])


def _translated(filters: Filter) -> tuple[Filter | None, bool]:
    """Return API conditions that every matching document meets, and whether only matching documents meet them."""
    if "field" in filters:
        return _comparison(filters)
    if "conditions" not in filters:
        raise FilterError("a filter requires `field`, or `operator` and `conditions`")
    if (operator := filters.get("operator")) not in _COMBINATIONS:
        raise FilterError(f"`operator` must be one of {', '.join(_COMBINATIONS)}")
    parts = [_translated(condition) for condition in filters["conditions"]]
    exact = all(part[1] for part in parts)
    known = [part[0] for part in parts if part[0] is not None]
    if operator == "AND":
        return ({"AND": known} if known else None), exact
    if len(known) < len(parts) or not known or (operator == "NOT" and not exact):
        return None, False
    return ({"OR": known} if operator == "OR" else {"NOT": [{"AND": known}]}), exact


def _comparison(condition: Filter) -> tuple[Filter | None, bool]:
    if not {"operator", "value"} <= condition.keys():
        raise FilterError("a comparison requires `field`, `operator` and `value`")
    field, operator, value = condition["field"], condition["operator"], condition["value"]
    if operator in ("in", "not in") and not isinstance(value, list):
        raise FilterError(f"`value` must be a list if the operator is `{operator}`")
    operands = value if operator in ("in", "not in") else [value]
    if not field.startswith("meta.") or not _is_plain(operands):
        return None, False
    name = f"metadata.document.{field}"
    if operator in _ORDERINGS:
        return _ordering(name, _ORDERINGS[operator], value)
    if operator not in ("==", "!=", "in", "not in"):
        raise FilterError("`operator` must be one of ==, !=, >, >=, <, <=, in, not in")
    matching: Filter = {name: {"in": operands}}
    if None in operands:
        matching = {"OR": [matching, {"NOT": [{name: {"exists": True}}]}]}
    return (matching if operator in ("==", "in") else {"NOT": [matching]}), True


def _ordering(name: str, operator: str, value: Any) -> tuple[Filter, bool]:
    """Compare numbers in the service. For other values, require only that the field exists, because Haystack compares
    or rejects them.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        return {name: {operator: value}}, True
    return {name: {"exists": True}}, False


def _is_plain(values: list[Any]) -> bool:
    """Return whether the service compares these values as Haystack does. Dates and nested values differ."""
    return all(value is None or isinstance(value, int | float) or _is_word(value) for value in values)


def _is_word(value: Any) -> bool:
    return isinstance(value, str) and not (len(value) >= 10 and value[:4].isdigit() and value[4] == "-")
