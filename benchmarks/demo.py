"""`make demo`: store this project's documentation as memories, and ask five questions about it.

The demo uses the server started with `make run` if there is one, or a temporary server otherwise. Each section of each
file becomes a memory at [file, section] in the `documentation` namespace.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import pathlib
import re
import tempfile
import textwrap
from collections.abc import Iterator

from testing.server import ROOT, Client, Server

NAMESPACE = "documentation"
QUESTIONS = (
    "How do I start the service on my laptop?",
    "What happens to a search when the vector index is down?",
    "Which limits are there, and what happens when a client exceeds them?",
    "Why can one tenant never see another tenant's memories?",
    "Which embedding model is used without an internet connection?",
)


def sections() -> Iterator[tuple[int, int, str, str, str]]:
    """Yield (file number, section number, file, title, text) for README.md and everything in docs/."""
    files = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    for file_number, path in enumerate(files, start=1):
        for number, (title, lines) in enumerate(_split(path.read_text(encoding="utf-8")), start=1):
            if text := "\n".join(lines).strip():
                yield file_number, number, path.relative_to(ROOT).as_posix(), title, text


def _split(markdown: str) -> list[tuple[str, list[str]]]:
    """Return a list of (heading, lines below it). A `#` inside a fenced block is a comment, not a heading."""
    found: list[tuple[str, list[str]]] = []
    fenced = False
    for line in markdown.splitlines():
        fenced ^= line.startswith("```")
        heading = None if fenced else re.fullmatch(r"#{1,3} +(.+)", line)
        if heading:
            found.append((heading[1], []))
        elif found:
            found[-1][1].append(line)
    return found


@contextlib.contextmanager
def client() -> Iterator[Client]:
    """Yield a client for the server started with `make run`, or for a temporary one."""
    port = int(os.environ.get("SOMA_PORT", "9595"))
    key = pathlib.Path(os.environ.get("SOMA_DATA_DIR", ROOT / "var")) / "first-key"
    running = Client(port, key.read_text() if key.is_file() else "", "default", 60)
    with contextlib.suppress(OSError, http.client.HTTPException):
        if key.is_file() and running.call("GET", "/stats")[0] == 200:
            print(f"Using the server on port {port}: tenant 'default', namespace '{NAMESPACE}'.")
            yield running
            return
    print("No server is running here; starting a temporary one …")
    with tempfile.TemporaryDirectory(prefix="soma-demo-") as folder, Server(pathlib.Path(folder)) as server:
        yield server.client()


def main() -> None:
    items = [
        {
            "coord": [file_number, number],
            "namespace": NAMESPACE,
            "memory_type": "semantic",
            "payload": {"title": title, "text": text, "file": file},
        }
        for file_number, number, file, title, text in sections()
    ]
    with client() as api:
        stored = api.post("/memories/bulk", {"items": items, "atomic": True})
        print(f"Stored {stored['stored']} sections; the index caught up in {api.wait_until_indexed():.1f} s.")
        for question in QUESTIONS:
            print(f"\n{question}")
            for found in api.post("/memories/search", {"query": question, "namespace": NAMESPACE, "top_k": 3})[
                "memories"
            ]:
                payload = found["payload"]
                print(f"  {found['score']:.3f}  [{found['coord']}]  {payload['file']} / {payload['title']}")
                excerpt = " ".join(payload["text"].split())
                print(textwrap.indent(textwrap.shorten(excerpt, 110, placeholder=" …"), " " * 9))


if __name__ == "__main__":
    main()
