"""LangChain with a memory of documents. Replace `answer` with a call to your chat model."""

from somamemory_client import Client
from somamemory_client.adapters.langchain import SomaVectorStore


def answer(question: str, known: list[str]) -> str:
    return f"(Your chat model answers {question!r} here, knowing {known}.)"


def main(client: Client) -> list[str]:
    store = SomaVectorStore(client, "examples/langchain")
    store.add_texts(["I am a vegetarian now."], ids=["diet"])
    retriever = store.as_retriever(search_kwargs={"k": 1})
    question = "What should I cook on Sunday?"
    return [answer(question, [document.page_content for document in retriever.invoke(question)])]


if __name__ == "__main__":
    with Client() as client:
        for line in main(client):
            print(line)
