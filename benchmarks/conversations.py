"""Measure the latency of conversation requests: `make bench-conversations`.

By default, the benchmark uses an embedded server with 10,000 messages. With `--database postgres://…`, which must be an
empty database, it uses 100,000 messages. In that case, use a Milvus server if possible: `python -m
testing.milvus_server .venv/bin/python -m benchmarks.conversations --database postgres://…`. There are ten messages per
conversation and ten conversations per folder. A single local client sends requests to a real server, one at a time.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import random
import secrets
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from benchmarks.embedded import progress, texts
from testing.server import Client, Server

TURNS = 10
PER_FOLDER = 10
APPENDERS = 32
ROOT = "/api/v1/conversations"


def load(client: Client, messages: int) -> list[str]:
    """Create the conversations, and return their ids."""
    source, ids = texts(seed=1), []
    conversations = messages // TURNS
    for number in range(conversations):
        body = {
            "label": f"label {number % 50}",
            "folder": f"/bench/{number // PER_FOLDER}",
            "messages": [{"role": ("user", "assistant")[turn % 2], "content": next(source)} for turn in range(TURNS)],
        }
        ids.append(client.post(ROOT, body)["id"])
        if number % 50 == 0:
            progress("loading", number / conversations)
    return ids


def measured(repeats: int, ask: Callable[[int], Any]) -> str:
    latencies = []
    for number in range(repeats):
        began = time.perf_counter()
        ask(number)
        latencies.append((time.perf_counter() - began) * 1000)
    return f"p50 {statistics.median(latencies):6.1f} ms   p95 {statistics.quantiles(latencies, n=20)[-1]:6.1f} ms"


def measure(client: Client, ids: list[str], repeats: int) -> None:
    source, chance = texts(seed=2), random.Random(3)
    questions = [" ".join(next(source).split()[:6]) for _ in range(repeats)]
    folders = len(ids) // PER_FOLDER

    def query(number: int, filters: dict[str, Any] | None = None) -> Any:
        return client.post("/api/v1/query", {"query": questions[number], "filters": filters})

    def assemble(number: int, **more: Any) -> Any:
        body = {"query": questions[number], "context_budget": 4000, "preferred_labels": ["label 7"], **more}
        return client.post("/api/v1/context/assemble", body)

    def folder() -> str:
        return f"/bench/{chance.randrange(folders)}"

    requests: dict[str, Callable[[int], Any]] = {
        "fetch": lambda n: client.get(f"{ROOT}/{ids[n % len(ids)]}"),
        "list, a different page each time": lambda n: client.get(f"{ROOT}?page={n % 20 + 1}&page_size=50"),
        "list, one folder": lambda n: client.get(f"{ROOT}?folder={folder()}&q=label"),
        "messages": lambda n: client.get(f"{ROOT}/{ids[n % len(ids)]}/messages"),
        "query": query,
        "query in one folder": lambda n: query(n, {"folder": folder()}),
        "query in all folders": lambda n: query(n, {"folder": "/bench"}),
        "query by label": lambda n: query(n, {"label": f"label {n % 50}"}),
        "query by role": lambda n: query(n, {"role": "user"}),
        "full text": lambda n: client.post("/api/v1/search/fts", {"query": questions[n]}),
        "assemble": assemble,
        "assemble, one folder excluded": lambda n: assemble(n, excluded_folders=[folder()]),
        "append": lambda n: client.post(
            f"{ROOT}/{ids[0]}/messages", {"messages": [{"role": "user", "content": questions[n]}]}
        ),
    }
    for name, ask in requests.items():
        print(f"{name:32} {measured(repeats, ask)}", flush=True)


def append_together(server: Server, rounds: int) -> str:
    """Let 32 clients append to one conversation for several rounds, and report whether its turns are consecutive."""
    id = server.client().post(ROOT, {})["id"]

    def append(number: int) -> None:
        client = server.client(timeout_s=300)
        for at in range(rounds):
            client.post(f"{ROOT}/{id}/messages", {"messages": [{"role": "user", "content": f"{number} {at}"}]})

    began = time.perf_counter()
    with ThreadPoolExecutor(APPENDERS) as pool:
        list(pool.map(append, range(APPENDERS)))
    took_s = time.perf_counter() - began
    turns: list[int] = []
    cursor: str | None = ""
    client = server.client()
    while cursor is not None:
        page = client.get(f"{ROOT}/{id}/messages?limit=1000{cursor and '&cursor=' + cursor}")
        turns += [message["turn"] for message in page["items"]]
        cursor = page["next_cursor"]
    count = APPENDERS * rounds
    right = turns == list(range(1, count + 1)) and client.get(f"{ROOT}/{id}")["message_count"] == count
    verdict = f"turns 1 to {count} without gaps or duplicates" if right else "TURNS ARE WRONG"
    return (
        f"{APPENDERS} clients appended to one conversation {rounds} times: {verdict}; {count / took_s:.0f} per second"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database", default="", help="URL of an empty database, postgres://…")
    parser.add_argument(
        "--milvus",
        default=os.environ.get("SOMA_TEST_MILVUS_URI", ""),
        help="http://… URL of a Milvus server, used instead of the local index",
    )
    parser.add_argument("--messages", type=int, default=0, help="default: 10,000, or 100,000 with --database")
    parser.add_argument("--repeats", type=int, default=200, help="number of requests of each kind")
    parser.add_argument("--rounds", type=int, default=100, help="rounds of appends to one conversation")
    options = parser.parse_args()
    count = options.messages or (100_000 if options.database else 10_000)
    settings = {"SOMA_LOG_LEVEL": "WARNING", "SOMA_MAX_BACKLOG": "1000000"}
    if options.database:
        settings |= {"SOMA_DATABASE_URL": options.database, "SOMA_SECRET_KEY": secrets.token_urlsafe(50)}
    if options.milvus:
        settings["SOMA_MILVUS_URI"] = options.milvus
    with (
        tempfile.TemporaryDirectory(prefix="soma-bench-") as folder,
        Server(pathlib.Path(folder), **settings) as server,
    ):
        client = server.client(timeout_s=300)
        began = time.perf_counter()
        ids = load(client, count)
        took_s = time.perf_counter() - began
        lag_s = client.wait_until_indexed(3600)
        print(f"{count} messages: {count / took_s:.0f} per second; indexed {lag_s:.1f} s later")
        measure(client, ids, options.repeats)
        print(append_together(server, options.rounds))


if __name__ == "__main__":
    main()
