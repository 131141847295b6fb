"""A Haystack pipeline that finds documents by meaning and keyword, and by their metadata."""

from haystack import Document, Pipeline

from somamemory_client import Client
from somamemory_client.adapters.haystack import SomaDocumentRetriever, SomaDocumentStore


def main(client: Client) -> list[str | None]:
    store = SomaDocumentStore(client, "recipes")
    store.delete_all_documents()
    store.write_documents(
        [
            Document(content="Pasta with tomatoes, ready in 20 minutes", meta={"minutes": 20}),
            Document(content="Lasagne with tomatoes and spinach", meta={"minutes": 90}),
        ]
    )
    pipeline = Pipeline()
    pipeline.add_component("retriever", SomaDocumentRetriever(store))
    quick = {"field": "meta.minutes", "operator": "<", "value": 30}
    result = pipeline.run({"retriever": {"query": "something with tomatoes", "filters": quick}})
    return [document.content for document in result["retriever"]["documents"]]


if __name__ == "__main__":
    with Client() as client:
        print(main(client))
