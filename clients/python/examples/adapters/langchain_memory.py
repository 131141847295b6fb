"""LangChain with a vector store for documents and a chat history. Replace `answer` with a call to your chat model."""

from somamemory_client import Client
from somamemory_client.adapters.langchain import SomaChatHistory, SomaRetriever, SomaVectorStore

NAMESPACE = "examples/langchain"


def answer(question: str, known: list[str]) -> str:
    return f"(Your chat model answers {question!r} here, knowing {known}.)"


def main(client: Client) -> list[str]:
    SomaVectorStore(client, NAMESPACE).add_texts(["I am a vegetarian now."], ids=["diet"])
    retriever = SomaRetriever(client=client, k=1, options={"namespace": NAMESPACE})
    history = SomaChatHistory(client, "examples-langchain")
    history.clear()
    question = "What should I cook on Sunday?"
    history.add_user_message(question)
    history.add_ai_message(answer(question, [document.page_content for document in retriever.invoke(question)]))
    return [str(message.content) for message in history.messages]


if __name__ == "__main__":
    with Client() as client:
        for line in main(client):
            print(line)
