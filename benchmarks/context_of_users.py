"""Measure contexts for one user among many: `python -m benchmarks.context_of_users FILE [--database postgres://…]`.

FILE has the format of `benchmarks.context_recall`. Each conversation in FILE belongs to one user, and each session of a
conversation is stored as a separate conversation. Generated sessions are added until there are USERS users with
SESSIONS sessions each. The benchmark assembles CONTEXTS contexts with a `user_id`, most of them for questions about
another user's conversation, and prints:

- the number of items that belonged to another user; the exit status is 1 if there were any
- the fraction of the evidence found in a context of BUDGET tokens, limited by `user_id` or by the user's folder
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import itertools
import json
import pathlib
import random
import statistics
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

from benchmarks.context_recall import ROLES, evidence_share, shown, timed
from benchmarks.embedded import texts
from benchmarks.moving import empty_database
from testing.server import Client, Server

USERS, SESSIONS, CONTEXTS, BUDGET = 50, 40, 1_000, 1_000
TURNS = 8  # in each generated session
QUESTIONS = 150  # questions with evidence
Json = dict[str, Any]


def sessions(conversation: Json, generated: Iterator[str]) -> Iterator[list[Json]]:
    """Yield the messages in each of a user's sessions. Generated sessions come last."""
    turns = conversation["turns"]
    speakers = list(dict.fromkeys(turn["speaker"] for turn in turns))
    by_session = [list(group) for _, group in itertools.groupby(turns, key=lambda turn: turn["session"])]
    for session in by_session:
        yield [
            {
                "role": ROLES[speakers.index(turn["speaker"]) % 2],
                "content": f"{turn['speaker']}: {turn['text']}",
                "metadata": {"turn": turn["id"]},
            }
            for turn in session
        ]
    for _ in range(SESSIONS - len(by_session)):
        yield [{"role": ROLES[turn % 2], "content": next(generated)} for turn in range(TURNS)]


def load(client: Client, conversations: list[Json]) -> None:
    generated = texts(seed=5)
    for number in range(USERS):
        user = f"user-{number}"
        conversation = conversations[number] if number < len(conversations) else {"turns": []}
        for at, messages in enumerate(sessions(conversation, generated)):
            for message in messages:
                message["metadata"] = {**message.get("metadata", {}), "user": user}
            body = {"label": "Chat", "folder": f"/users/{user}", "user_id": user, "session_id": f"{user}/{at}"}
            client.post("/api/v1/conversations", {**body, "messages": messages})


def assemble(client: Client, question: str, latencies: list[float], **scope: str) -> list[Json]:
    body = {"query": question, "context_budget": BUDGET, **scope}
    items: list[Json] = timed(latencies, client, "/api/v1/context/assemble", body)
    return items


def measure(client: Client, conversations: list[Json]) -> int:
    """Print the results, and return the number of items that belonged to other users."""
    chance = random.Random(7)
    questions = [
        (f"user-{at}", question)
        for at, conversation in enumerate(conversations)
        for question in conversation["questions"]
    ]
    chosen = chance.sample(questions, min(QUESTIONS, len(questions)))
    shares: dict[str, list[float]] = collections.defaultdict(list)
    latencies: list[float] = []
    items = foreign = 0

    def checked(user: str, question: Json, **scope: str) -> list[Json]:
        nonlocal items, foreign
        context = assemble(client, question["question"], latencies, **scope)
        items += len(context)
        foreign += sum(item["metadata"].get("user") != user for item in context)
        return context

    for user, question in chosen:
        shares["user_id"].append(evidence_share(question, checked(user, question, user_id=user)))
        folder = assemble(client, question["question"], [], folder=f"/users/{user}")
        shares["folder"].append(evidence_share(question, folder))
    for _ in range(CONTEXTS - len(chosen)):
        user = f"user-{chance.randrange(USERS)}"
        checked(user, chance.choice(questions)[1], user_id=user)
    print(f"{CONTEXTS} contexts by user_id with {items} items: {foreign} from another user   {shown(latencies)}")
    for name, values in shares.items():
        print(f"by {name}: {statistics.fmean(values):.4f} of the evidence in {BUDGET} tokens ({len(values)} questions)")
    return foreign


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=pathlib.Path, help="JSON file in the format described above")
    parser.add_argument(
        "--database", default="", help="postgres://… URL of a server on which a database can be created"
    )
    options = parser.parse_args()
    conversations = json.loads(options.data.read_text(encoding="utf-8"))["conversations"]
    with contextlib.ExitStack() as stack:
        settings = {}
        if options.database:
            settings["SOMA_DATABASE_URL"] = stack.enter_context(empty_database(options.database))
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="soma-users-"))
        client = stack.enter_context(Server(pathlib.Path(folder), **settings)).client()
        load(client, conversations)
        client.wait_until_indexed()
        foreign = measure(client, conversations)
    sys.exit(1 if foreign else 0)


if __name__ == "__main__":
    main()
