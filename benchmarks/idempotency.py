"""Send each of many writes several times at once, and count the effects: `python -m benchmarks.idempotency`.

The benchmark starts its own servers: one on SQLite, or several on an empty PostgreSQL database, as given by --database
and --servers. The exit status is 0 if every write had exactly one effect and all of its copies got the same response.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import pathlib
import random
import secrets
import sys
import tempfile
import threading
import time
from collections import Counter

from testing.server import Client, Server


class Outcomes:
    """The responses for each key, and how many copies took effect, were replayed, or had to be sent again."""

    def __init__(self, keys: int) -> None:
        self.answers: list[Counter[str]] = [Counter() for _ in range(keys)]
        self.done = self.replayed = self.again = 0
        self.lock = threading.Lock()

    def note(self, key: int, answer: str, replayed: bool) -> None:
        with self.lock:
            self.answers[key][answer] += 1
            self.replayed += replayed
            self.done += not replayed


def send_all(servers: list[Server], work: list[int], outcomes: Outcomes) -> None:
    """Take copies from `work` and send them until none are left. Runs on its own thread."""
    clients = [server.client() for server in servers]
    while True:
        try:
            number = work.pop()
        except IndexError:
            return
        answer, replayed = send(random.choice(clients), number, outcomes)
        outcomes.note(number, answer, replayed)


def send(client: Client, number: int, outcomes: Outcomes) -> tuple[str, bool]:
    body = json.dumps({"coord": [1, number], "payload": {"text": f"memory {number}"}})
    headers = {**client.headers, "Idempotency-Key": f"key-{number}"}
    while True:
        try:
            client.connection.request("POST", "/memories", body, headers)
            response = client.connection.getresponse()
            content = response.read().decode()
        except (OSError, http.client.HTTPException):
            client.connection.close()  # send it again; the key makes this safe, even if the first attempt took effect
            continue
        if response.status == 201:
            return content, response.headers.get("Idempotent-Replayed") == "true"
        if response.status not in (409, 503):
            raise RuntimeError(f"{response.status}: {content}")
        outcomes.again += 1
        time.sleep(0.01)


def failures(client: Client, keys: int, copies: int, outcomes: Outcomes) -> list[str]:
    """Return the deviations from the expected result."""
    versions: Counter[int] = Counter()
    cursor: str | None = ""
    while cursor is not None:
        page = client.get(f"/memories?prefix=1&limit=1000{cursor and '&cursor=' + cursor}")
        versions.update(item["version"] for item in page["items"])
        cursor = page["next_cursor"]
    wrong = []
    if versions != {1: keys}:
        wrong.append(f"the memories have the versions {dict(versions)}, but all {keys} should have version 1")
    if outcomes.done != keys or outcomes.replayed != keys * (copies - 1):
        wrong.append(f"{outcomes.done} effects and {outcomes.replayed} replays were reported")
    if several := sum(len(answers) != 1 or answers.total() != copies for answers in outcomes.answers):
        wrong.append(f"{several} keys had different responses")
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=10_000)
    parser.add_argument("--copies", type=int, default=5)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--servers", type=int, default=1, help="number of servers; more than one requires --database")
    parser.add_argument("--database", default="", help="URL of an empty database, postgres://…")
    options = parser.parse_args()
    if options.servers > 1 and not options.database:
        parser.error("--database is required when --servers is greater than 1")

    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as running:
        servers: list[Server] = []
        secret = secrets.token_urlsafe(50)
        for number in range(options.servers):
            (home := pathlib.Path(folder) / str(number)).mkdir()
            settings = {"SOMA_INDEXER": "none", "SOMA_LOG_LEVEL": "WARNING"}
            if options.database:
                settings |= {"SOMA_DATABASE_URL": options.database, "SOMA_SECRET_KEY": secret}
            server = Server(home, **settings)
            if servers:
                server.key = servers[0].key
            servers.append(running.enter_context(server))
        work = [number for number in range(options.keys) for _ in range(options.copies)]
        outcomes, began = Outcomes(options.keys), time.monotonic()
        senders = [threading.Thread(target=send_all, args=(servers, work, outcomes)) for _ in range(options.clients)]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
        took_s = time.monotonic() - began
        wrong = failures(servers[0].client(), options.keys, options.copies, outcomes)

    sent = options.keys * options.copies
    print(f"{sent} copies of {options.keys} writes in {took_s:.1f} s ({sent / took_s:.0f}/s):")
    print(f"{outcomes.done} effects, {outcomes.replayed} replays, {outcomes.again} asked to retry")
    print("\n".join(wrong) or "every write had exactly one effect, and all of its copies got the same response")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
