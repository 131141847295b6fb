"""A LangGraph agent that remembers each user across threads. Replace `answer` with a call to your language model."""

from typing import TypedDict

from langgraph.graph import END, START, StateGraph
from langgraph.store.base import BaseStore

from somamemory_client import Client
from somamemory_client.adapters.langgraph import SomaStore


class State(TypedDict):
    user: str
    question: str
    answer: str


def answer(question: str, known: list[str]) -> str:
    return f"(Your language model answers {question!r} here, knowing {known}.)"


def converse(state: State, *, store: BaseStore) -> dict[str, str]:
    place = ("users", state["user"])
    known = [item.value["text"] for item in store.search(place, query=state["question"], limit=3)]
    store.put(place, state["question"], {"text": state["question"]})
    return {"answer": answer(state["question"], known)}


def main(client: Client) -> list[str]:
    builder = StateGraph(State)
    builder.add_node("converse", converse)
    builder.add_edge(START, "converse")
    builder.add_edge("converse", END)
    graph = builder.compile(store=SomaStore(client))
    questions = ("I am a vegetarian now.", "What should I cook on Sunday?")
    return [graph.invoke({"user": "ada", "question": question})["answer"] for question in questions]


if __name__ == "__main__":
    with Client() as client:
        for line in main(client):
            print(line)
