"""Import a large ChatGPT export into SQLite: `python -m benchmarks.imports --megabytes 500`.

The benchmark generates an export of the given size in ChatGPT's format (a tree of messages per conversation). It
imports the file with `manage.py import_conversations` while a server embeds the new messages, and then imports it
again; the second import must not add anything. It reports the time and the peak memory of each process (ru_maxrss and
VmHWM; Linux). All files are in a temporary folder, which takes up about six times as much space as the export and is
removed afterwards.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from typing import Any

from benchmarks.embedded import texts
from testing.server import ROOT, Server

LIMIT_MB = 300
_TURNS = (8, 20, 40, 60, 94)  # possible numbers of messages in a conversation
_SENTENCES = (1, 2, 4, 8)


def export(path: pathlib.Path, megabytes: float, seed: int = 1) -> tuple[int, int]:
    """Write an export of the given size, and return the number of conversations and messages."""
    chance, source = random.Random(seed), texts(seed)
    conversations = messages = 0
    with path.open("w", encoding="utf-8") as file:
        file.write("[")
        while file.tell() < megabytes * 1_000_000:
            turns = chance.choice(_TURNS)
            file.write(",\n" if conversations else "\n")
            json.dump(_conversation(conversations, turns, chance, source), file)
            conversations += 1
            messages += turns
        file.write("\n]\n")
    return conversations, messages


def _conversation(number: int, turns: int, chance: random.Random, source: Iterator[str]) -> dict[str, Any]:
    ids = [str(uuid.UUID(int=chance.getrandbits(128))) for _ in range(turns + 1)]
    began = 1_600_000_000 + 9_000 * number
    mapping = {}
    for at, id in enumerate(ids):
        message = None
        if at:
            content = ". ".join(next(source) for _ in range(chance.choice(_SENTENCES)))
            message = {
                "id": id,
                "author": {"role": "user" if at % 2 else "assistant", "name": None, "metadata": {}},
                "create_time": began + 30.5 * at,
                "update_time": None,
                "content": {"content_type": "text", "parts": [content]},
                "status": "finished_successfully",
                "end_turn": True,
                "weight": 1.0,
                "metadata": {"message_type": "next", "timestamp_": "absolute", "request_id": ids[0], "citations": []},
                "recipient": "all",
                "channel": None,
            }
        mapping[id] = {
            "id": id,
            "message": message,
            "parent": ids[at - 1] if at else None,
            "children": ids[at + 1 : at + 2],
        }
    return {
        "title": f"Conversation {number}",
        "create_time": began,
        "update_time": began + 60.0 * turns,
        "mapping": mapping,
        "current_node": ids[-1],
        "conversation_id": str(uuid.UUID(int=number + 1)),
    }


def take_over(path: pathlib.Path, environment: dict[str, str]) -> tuple[str, float, float]:
    """Run the import command. Return its last line of output, its duration in seconds and its peak memory in MiB."""
    began = time.monotonic()
    command = [sys.executable, str(ROOT / "manage.py"), "import_conversations", str(path)]
    with tempfile.TemporaryFile("w+") as output_file:
        process = subprocess.Popen(command, env=environment, stdout=output_file, stderr=subprocess.STDOUT)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        output_file.seek(0)
        output = output_file.read()
    if process.returncode:
        raise RuntimeError(f"the import failed with exit code {process.returncode}:\n{output}")
    waits = output.count("waiting:")
    last = output.strip().splitlines()[-1]
    return (
        f"{last} (waited {waits} times for the index)" if waits else last,
        time.monotonic() - began,
        used.ru_maxrss / 1024,
    )


def peak_mb(pid: int) -> float:
    """Return the peak memory of a process so far, in MiB."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0


def group_peaks_mb(server: Server) -> list[float]:
    """Return the peak memory of each server process, largest first."""
    assert server.process is not None
    group = [
        int(folder.name)
        for folder in pathlib.Path("/proc").glob("[0-9]*")
        if os.path.exists(folder) and _group(int(folder.name)) == server.process.pid
    ]
    return sorted(map(peak_mb, group), reverse=True)


def _group(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return 0


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--megabytes", type=float, default=500)
    options.add_argument("--folder", type=pathlib.Path, help="parent of the temporary folder")
    options.add_argument(
        "--without-server", action="store_true", help="only store the messages, without a server that embeds them"
    )
    options.add_argument(
        "--wait-s", type=float, default=7200, help="maximum time for the index to catch up, in seconds"
    )
    given = options.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        folder = pathlib.Path(name)
        path = folder / "conversations.json"
        conversations, messages = export(path, given.megabytes)
        print(f"{path.stat().st_size / 1e6:.0f} MB, {conversations:,} conversations, {messages:,} messages", flush=True)
        (folder / "data").mkdir()
        server = Server(folder / "data", SOMA_LOG_LEVEL="WARNING")
        server.environment["SOMA_LOG_LEVEL"] = "WARNING"
        if given.without_server:
            server.environment["SOMA_MAX_BACKLOG"] = "100000000"
            subprocess.run(
                [sys.executable, str(ROOT / "manage.py"), "migrate", "-v0"], env=server.environment, check=True
            )
            _both(path, server, messages)
            return
        with server:
            _both(path, server, messages)
            began = time.monotonic()
            server.client().wait_until_indexed(given.wait_s)
            index = server.client().get("/stats")["index"]
            print(f"index: {index['ready']:,} ready {time.monotonic() - began:.0f} s later, {index['failed']} failed")
            peaks = ", ".join(f"{peak:.0f}" for peak in group_peaks_mb(server))
            print(f"peak memory per server process: {peaks} MiB")


def _both(path: pathlib.Path, server: Server, messages: int) -> None:
    for turn in ("first", "second"):
        output, took_s, peak = take_over(path, server.environment)
        print(
            f"{turn}: {output.partition(': ')[2]} {took_s:.0f} s, {messages / took_s:,.0f} messages/s, {peak:.0f} MiB"
        )
        sys.stdout.flush()
        if peak > LIMIT_MB:
            raise SystemExit(f"the import used more than {LIMIT_MB} MiB of memory")


if __name__ == "__main__":
    main()
