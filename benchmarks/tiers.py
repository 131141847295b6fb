"""Measure the cost of each storage tier for conversations: `make bench-tiers`.

An embedded server stores 20,000 messages, ten per conversation. Half of the conversations are then archived, and later
moved to cold storage. A single local client sends requests one at a time.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import sqlite3
import subprocess
import sys
import tempfile
import time

from benchmarks.conversations import ROOT, load, measured
from benchmarks.embedded import texts
from testing.server import Client, Server

HOME = pathlib.Path(__file__).resolve().parent.parent


def measure(name: str, client: Client, ids: list[str], repeats: int, *, archived: bool) -> None:
    source = texts(seed=2)
    questions = [" ".join(next(source).split()[:6]) for _ in range(repeats)]

    def query(number: int, **more: bool) -> object:
        return client.post("/api/v1/query", {"query": questions[number], **more})

    print(f"{name}: messages                    {measured(repeats, lambda n: client.get(f'{ROOT}/{ids[n]}/messages'))}")
    print(f"{name}: query                       {measured(repeats, query)}")
    if archived:
        print(f"{name}: query, archived included   {measured(repeats, lambda n: query(n, include_archived=True))}")


def cool(server: Server, folder: pathlib.Path) -> tuple[float, str]:
    """Move conversations to cold storage as if they had been archived a year ago.

    Return (seconds, the command's output).
    """
    time.sleep(12)  # until the read counts have been written to the database
    with sqlite3.connect(folder / "somamemory.sqlite3", timeout=30) as database:
        database.execute(
            "UPDATE sfm_conversations SET archived_at = '2020-01-01 00:00:00', summarise_at = NULL "
            "WHERE status = 'archived'"
        )
        database.execute("UPDATE sfm_memories SET last_accessed_at = NULL WHERE archived_at IS NOT NULL")
    began = time.perf_counter()
    command = [sys.executable, str(HOME / "manage.py"), "upkeep"]
    done = subprocess.run(command, env=server.environment, capture_output=True, text=True, check=True)
    return time.perf_counter() - began, done.stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=100, help="number of requests of each kind")
    options = parser.parse_args()
    settings = {"SOMA_LOG_LEVEL": "WARNING", "SOMA_SUMMARY_INTERVAL_S": "0", "SOMA_ARCHIVED_DAYS": "30"}
    with tempfile.TemporaryDirectory(prefix="soma-bench-") as name:
        folder = pathlib.Path(name)
        with Server(folder, **settings) as server:
            client = server.client(timeout_s=300)
            ids = load(client, options.messages)
            client.wait_until_indexed(3600)
            measure("active  ", client, ids, options.repeats, archived=False)
            half = ids[: len(ids) // 2]
            put = measured(len(half), lambda n: client.call("PUT", f"{ROOT}/{half[n]}/archive"))
            print(f"archived: archive one conversation    {put}")
            client.wait_until_indexed(3600)
            measure("archived", client, half, options.repeats, archived=True)
            took_s, output = cool(server, folder)
            print(f"cold:     {len(half) / took_s:.0f} conversations per second; {output.splitlines()[-1]}")
            files = [path for path in (folder / "cold").rglob("*") if path.is_file()]
            size = sum(path.stat().st_size for path in files)
            print(f"cold:     {len(files)} files, {size / len(half) / 10:.0f} bytes per message")
            client = server.client(timeout_s=300)  # the server has closed the idle connection
            first = measured(options.repeats, lambda n: client.get(f"{ROOT}/{half[n]}/messages"))
            print(f"cold:     messages, read from the file {first}")
            said_more = {"messages": [{"role": "user", "content": "one more message"}]}
            later = half[options.repeats :]
            back = measured(options.repeats, lambda n: client.post(f"{ROOT}/{later[n]}/messages", said_more))
            print(f"cold:     append, with restore         {back}")
            measure("cold    ", client, ids[len(ids) // 2 :], options.repeats, archived=True)
            print(f"          {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
