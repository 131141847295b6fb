"""Generate the synchronous Python client from the asynchronous one, by replacing names.

`make reference` runs this script. Both clients therefore have the same names, documentation and behaviour.
"""

from __future__ import annotations

import re
from pathlib import Path

SOURCE = Path(__file__).resolve().parent.parent / "clients" / "python" / "src" / "somamemory_client" / "_async"
TARGET = SOURCE.parent / "_sync"
HEAD = "# Written by scripts/client_sync.py from _async/{name}. Do not edit: run `make reference`.\n"
REPLACEMENTS = (
    (r"async def __aiter__\b", "def __iter__"),
    (r"\basync (def|for|with)\b", r"\1"),
    (r"\bawait ", ""),
    (r"\b__aenter__\b", "__enter__"),
    (r"\b__aexit__\b", "__exit__"),
    (r"_async_http\b", "_http"),
    (r"somamemory_client\._async\b", "somamemory_client._sync"),
    (r"\basync_sleep\b", "sleep"),
    (r"\bAsync([A-Z])", r"\1"),
    (r"The asynchronous client\. `_sync` is .*?\.\"", 'The synchronous client."'),
)


def converted(text: str) -> str:
    for pattern, replacement in REPLACEMENTS:
        text = re.sub(pattern, replacement, text)
    return text


def files() -> dict[Path, str]:
    """Return the text of each of the synchronous client's files, before formatting."""
    return {
        TARGET / path.name: HEAD.format(name=path.name) + converted(path.read_text(encoding="utf-8"))
        for path in sorted(SOURCE.glob("*.py"))
    }
