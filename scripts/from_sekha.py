"""Convert the conversations in a Sekha database (SQLite) to JSON lines for `manage.py import_conversations`.

    python scripts/from_sekha.py ~/.sekha/data/sekha.db > sekha.jsonl
    python scripts/from_sekha.py --digest sekha.jsonl     the number of conversations and messages, and a hash

Reads the `conversations` and `messages` tables, whose format has not changed since version 0.1 of Sekha's controller
(according to its source code in November 2026). Processes one conversation at a time, does not change the database, and
needs only the Python standard library.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote


def conversations(path: Path) -> Iterator[dict[str, Any]]:
    """Yield each conversation in SomaMemory's export format. Raises sqlite3.Error if the database cannot be read."""
    with sqlite3.connect(f"file:{quote(str(path.resolve()))}?mode=ro", uri=True) as database:
        database.row_factory = sqlite3.Row
        for row in database.execute("SELECT * FROM conversations ORDER BY created_at, id"):
            said = database.execute(
                "SELECT role, content, timestamp, metadata FROM messages WHERE conversation_id = ? "
                "ORDER BY timestamp, rowid",
                (row["id"],),
            )
            yield {
                "format": "somamemory.conversation/1",
                "id": _id(row["id"]),
                "label": row["label"],
                "folder": row["folder"],
                "status": row["status"],
                "importance_score": min(max(row["importance_score"], 1), 10),
                "created_at": row["created_at"],
                "messages": [_message(message) for message in said],
            }


def _message(row: sqlite3.Row) -> dict[str, Any]:
    try:
        metadata = json.loads(row["metadata"] or "{}")
    except ValueError:
        metadata = row["metadata"]
    return {
        "role": row["role"],
        "content": row["content"],
        "timestamp": row["timestamp"],
        "metadata": metadata if isinstance(metadata, dict) else {"sekha": metadata},
    }


def _id(value: str | bytes) -> str:
    """Return an id as text. Depending on the version, Sekha stores ids as text or as 16 bytes."""
    return str(uuid.UUID(bytes=value)) if isinstance(value, bytes) else value


def digest(path: Path) -> str:
    """Describe the conversations in a file, regardless of their order.

    The file is either one that this script has written, or an export from SomaMemory (`format=jsonl`).
    """
    messages, hashes = 0, []
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            conversation = json.loads(line)
            said = [[message["role"], message["content"]] for message in conversation["messages"]]
            text = json.dumps([conversation["label"], conversation["folder"], said])
            hashes.append(hashlib.sha256(text.encode()).hexdigest())
            messages += len(said)
    total = hashlib.sha256("".join(sorted(hashes)).encode()).hexdigest()
    return f"{len(hashes):,} conversations, {messages:,} messages, hash {total}"


def main(path: str) -> int:
    try:
        for conversation in conversations(Path(path)):
            print(json.dumps(conversation, ensure_ascii=False))
    except sqlite3.Error as error:
        print(f"error: {path}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1] == "--digest":
        print(digest(Path(sys.argv[2])))
        sys.exit()
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1]))
