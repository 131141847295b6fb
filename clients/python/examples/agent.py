"""An agent with a memory for each user. Replace `answer` with a call to your language model."""

from somamemory_client import Client


def answer(question: str, known: list[str]) -> str:
    return f"(Your language model answers {question!r} here, knowing {known}.)"


def converse(client: Client, user_id: str, questions: list[str]) -> list[str]:
    memories = client.user(user_id).memories
    answers = []
    for question in questions:
        known = [hit["payload"]["text"] for hit in memories.search(question, top_k=3)]
        answers.append(answer(question, known))
        memories.store(question)
    return answers


if __name__ == "__main__":
    with Client() as client:
        for line in converse(client, "ada", ["I am a vegetarian now.", "What should I cook on Sunday?"]):
            print(line)
