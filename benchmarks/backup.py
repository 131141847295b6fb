"""Measure how long it takes for searches to work again after the loss of a disk.

    python -m benchmarks.backup [--memories 100000] [--database postgres://…]

The benchmark fills a server, backs it up while clients write to it, then kills it and deletes its data. In a copy of
the backup, it flips one bit. `verify_backup` must detect this change. The benchmark then restores the backup to a new
folder and starts a server there. Every table must match the manifest, and semantic search must find all memories again
within five minutes.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import pathlib
import random
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from urllib.parse import urlsplit, urlunsplit

from benchmarks.rebuild import text
from somamemory.db.databases import drop
from testing.server import ROOT, Server

GOAL_S = 300.0
QUESTIONS = 100
BATCH = 1_000


def fill(server: Server, memories: int) -> None:
    client = server.client(timeout_s=300)
    for start in range(0, memories, BATCH):
        items = [
            {
                "coord": [number // 1000, number % 1000],
                "payload": {"text": text(number)},
                "memory_type": "semantic",  # writers store episodic memories
            }
            for number in range(start, min(memories, start + BATCH))
        ]
        client.post("/memories/bulk", {"items": items})
    client.wait_until_indexed(3600)


def manage(server: Server, *arguments: str) -> tuple[int, str, float]:
    """Run a manage.py command, and return (exit code, output, seconds)."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), *arguments],
        env=server.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + (done.stderr if done.returncode else ""), time.monotonic() - began


class Writers:
    """Clients that store memories continuously."""

    def __init__(self, server: Server, clients: int = 4) -> None:
        self.server, self.stored, self.done = server, 0, threading.Event()
        self.threads = [threading.Thread(target=self._run, args=(number,)) for number in range(clients)]

    def __enter__(self) -> Writers:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.done.set()
        for thread in self.threads:
            thread.join()

    def _run(self, number: int) -> None:
        client, at = self.server.client(), 0
        while not self.done.is_set():
            client.post("/memories", {"coord": [-1, number, at], "payload": {"text": f"note {at} by writer {number}"}})
            self.stored += 1
            at += 1


def found(server: Server, memories: int) -> list[set[str]]:
    """Run some semantic searches, and return the first ten hits of each."""
    client = server.client()
    queries = [text(number) for number in random.Random(1).sample(range(memories), min(QUESTIONS, memories))]
    options = {"top_k": 10, "mode": "semantic", "memory_type": "semantic"}
    answers = [client.post("/memories/search", {"query": query, **options})["memories"] for query in queries]
    return [{hit["coord"] for hit in hits} for hits in answers]


def back_up(home: pathlib.Path, memories: int, settings: dict[str, str]) -> tuple[Server, pathlib.Path, list[set[str]]]:
    """Back up a server while clients write to it, then kill it and delete its data.

    Returns the server, the backup folder, and the search results from before the backup.
    """
    (home / "first").mkdir()
    server = Server(home / "first", **settings)
    server.start()
    fill(server, memories)
    known = found(server, memories)
    with Writers(server) as writers:
        time.sleep(1)
        before = writers.stored
        code, output, took_s = manage(server, "backup", "--to", str(home / "backups"))
        during = writers.stored - before
    server.kill()
    shutil.rmtree(home / "first")
    if code:
        raise SystemExit(output)
    print(f"backup: {took_s:.1f} s, during which {during} memories were stored ({during / took_s:.0f}/s)")
    (folder,) = (home / "backups").iterdir()
    manifest = json.loads((folder / "manifest.json").read_text())
    print(f"        {manifest['bytes'] / 2**20:.0f} MiB, {manifest['tables']['sfm_memories']['rows']} memories")
    return server, folder, known


def flipped(folder: pathlib.Path, to: pathlib.Path) -> pathlib.Path:
    """Copy a backup, and flip one bit in the middle of the copy's data."""
    shutil.copytree(folder, to)
    file = to / json.loads((to / "manifest.json").read_text())["file"]
    with file.open("r+b") as opened:
        opened.seek(file.stat().st_size // 2)
        byte = opened.read(1)[0]
        opened.seek(-1, 1)
        opened.write(bytes([byte ^ 1]))
    return to


def verify(server: Server, folder: pathlib.Path, damaged: pathlib.Path) -> Iterator[str]:
    """Verify the intact backup and the damaged one, and yield any problems."""
    code, output, _ = manage(server, "verify_backup", str(damaged))
    is_found = code != 0 and "damaged" in output
    print(f"flipped bit: {'detected' if is_found else 'NOT DETECTED'}")
    if not is_found:
        yield "the flipped bit was not detected"
    code, output, took_s = manage(server, "verify_backup", str(folder))
    print(f"verify_backup: {took_s:.1f} s, {output.strip().splitlines()[-1]}")
    if code:
        yield output


def come_back(server: Server, folder: pathlib.Path, memories: int, known: list[set[str]]) -> Iterator[str]:
    """Restore the backup, search again, and yield any problems.

    The `restore` command itself compares every table with the manifest.
    """
    began = time.monotonic()
    code, output, took_s = manage(server, "restore", str(folder))
    print(f"restore: {took_s:.1f} s, {output.strip().splitlines()[-1]}")
    if code:
        yield output
        return
    with server:
        client = server.client()
        hits = client.post("/memories/search", {"query": text(7), "mode": "keyword"})["memories"]
        print(f"keyword search after {time.monotonic() - began:.1f} s: {len(hits)} hits")
        client.wait_until_indexed(3600)
        all_s = time.monotonic() - began
        again = found(server, memories)
        same = sum(len(old & new) for old, new in zip(known, again, strict=True)) / sum(map(len, known))
        print(f"semantic search after {all_s:.1f} s: {same:.1%} of the previous hits for {len(known)} questions")
    if all_s > GOAL_S:
        yield f"recovery took {all_s:.0f} s; the goal is {GOAL_S} s"
    if same < 0.95:
        yield "semantic search did not find all memories again"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--memories", type=int, default=100_000)
    parser.add_argument(
        "--database",
        default="",
        help="postgres://… URL of a server on which two databases can be created (default: SQLite)",
    )
    options = parser.parse_args()
    settings = {"SOMA_SECRET_KEY": secrets.token_urlsafe(50), "SOMA_LOG_LEVEL": "WARNING"}
    with tempfile.TemporaryDirectory(prefix="soma-bench-") as name, empty_databases(options.database) as (one, other):
        home = pathlib.Path(name)
        first, folder, known = back_up(home, options.memories, {**settings, **one})
        (home / "second").mkdir()
        second = Server(home / "second", **{**settings, **other})
        second.key = first.key
        damaged = flipped(folder, home / "flipped")
        wrong = [*verify(second, folder, damaged), *come_back(second, folder, options.memories, known)]
    print("\n".join(wrong) or "everything was restored")
    return 1 if wrong else 0


@contextlib.contextmanager
def empty_databases(url: str) -> Iterator[list[dict[str, str]]]:
    """Create two databases on the same server, yield settings that select them, and drop them afterwards.

    Without a URL, the settings are empty.
    """
    if not url:
        yield [{}, {}]
        return
    import psycopg

    names = [f"soma_backup_{secrets.token_hex(4)}" for _ in range(2)]
    with psycopg.connect(url, autocommit=True) as connection:
        for name in names:
            connection.execute(f"CREATE DATABASE {name}")
        try:
            yield [{"SOMA_DATABASE_URL": urlunsplit(urlsplit(url)._replace(path=f"/{name}"))} for name in names]
        finally:
            for name in names:
                drop(connection.execute, name)


if __name__ == "__main__":
    sys.exit(main())
