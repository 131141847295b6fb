"""Measure the fraction of evidence found in conversations: `python -m benchmarks.context_recall FILE`.

FILE is JSON: `{"conversations": [{"name", "turns": [{"id", "speaker", "text", "date"}], "questions": [{"question",
"evidence": [turn ids]}]}]}`, for example questions about long conversations (LoCoMo). Each conversation is stored in
its own folder on a real server. Every question is then sent to two routes, whose results are measured by:

- `POST /query`, restricted to that folder: the fraction of the evidence among the first 10 messages
- `POST /context/assemble`, without restrictions: the fraction of the evidence in the context, for each budget
"""

from __future__ import annotations

import argparse
import collections
import json
import pathlib
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from testing.server import Client, Server

BATCH = 200
BUDGETS = (500, 1_000, 2_000)
ROLES = ("user", "assistant")


def load(client: Client, conversation: dict[str, Any]) -> None:
    name, turns = conversation["name"], conversation["turns"]
    speakers = list(dict.fromkeys(turn["speaker"] for turn in turns))
    messages = [
        {
            "role": ROLES[speakers.index(turn["speaker"]) % 2],
            "content": f"{turn['speaker']}: {turn['text']}",
            "metadata": {"turn": turn["id"]},
            "timestamp": said_at(turn, number),
        }
        for number, turn in enumerate(turns)
    ]
    made = client.post("/api/v1/conversations", {"label": name, "folder": f"/real/{name}", "messages": []})
    for first in range(0, len(messages), BATCH):
        client.post(f"/api/v1/conversations/{made['id']}/messages", {"messages": messages[first : first + BATCH]})


def said_at(turn: dict[str, Any], number: int) -> str:
    session = datetime.strptime(turn["date"], "%I:%M %p on %d %B, %Y").replace(tzinfo=UTC)
    return (session + timedelta(seconds=number)).isoformat()


def evidence_share(question: dict[str, Any], messages: list[dict[str, Any]]) -> float:
    evidence = set(question["evidence"])
    return len(evidence & {message["metadata"].get("turn") for message in messages}) / len(evidence)


def timed(latencies: list[float], client: Client, path: str, body: dict[str, Any]) -> Any:
    began = time.perf_counter()
    answer = client.post(path, body)
    latencies.append((time.perf_counter() - began) * 1000)
    return answer


def measure(client: Client, conversations: list[dict[str, Any]]) -> None:
    found: list[float] = []
    query_ms: list[float] = []
    inside: dict[int, list[float]] = collections.defaultdict(list)
    used: dict[int, list[int]] = collections.defaultdict(list)
    assemble_ms: list[float] = []
    for conversation in conversations:
        folder = f"/real/{conversation['name']}"
        for question in conversation["questions"]:
            body = {"query": question["question"], "filters": {"folder": folder}, "limit": 10}
            found.append(evidence_share(question, timed(query_ms, client, "/api/v1/query", body)["results"]))
            for budget in BUDGETS:
                body = {"query": question["question"], "context_budget": budget}
                answer = timed(assemble_ms, client, "/api/v1/context/assemble?manifest=true", body)
                if answer["used_tokens"] > budget:
                    sys.exit(f"{answer['used_tokens']} tokens used with a budget of {budget}")
                inside[budget].append(evidence_share(question, answer["items"]))
                used[budget].append(answer["used_tokens"])
    print(f"{len(found)} questions")
    print(f"query in one folder, recall@10: {statistics.fmean(found):.4f}  {shown(query_ms)}")
    for budget in BUDGETS:
        share, tokens = statistics.fmean(inside[budget]), statistics.fmean(used[budget])
        print(f"context with {budget:5} tokens, fraction of evidence: {share:.4f}  ({tokens:.0f} tokens used)")
    print(f"assemble {shown(assemble_ms)}")


def shown(latencies: list[float]) -> str:
    return f"p50 {statistics.median(latencies):.1f} ms, p95 {statistics.quantiles(latencies, n=20)[-1]:.1f} ms"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=pathlib.Path, help="JSON file in the format described above")
    options = parser.parse_args()
    conversations = json.loads(options.data.read_text(encoding="utf-8"))["conversations"]
    with tempfile.TemporaryDirectory(prefix="soma-recall-") as folder, Server(pathlib.Path(folder)) as server:
        client = server.client()
        for conversation in conversations:
            load(client, conversation)
        print(f"indexed after {client.wait_until_indexed():.1f} s")
        measure(client, conversations)


if __name__ == "__main__":
    main()
