"""Folders: paths that conversations are filed under. Pure.

`/jobs` and `jobs` are one place, which holds `/jobs/2026` and not `/jobs-old`. A folder is kept as it was given.
"""

from __future__ import annotations

import re

MAX_LENGTH = 500
MAX_DEPTH = 32
ROOT = "/"
# Letters and digits of any script, spaces inside, and a few signs; nothing that a shell, a URL or a pattern takes
# for something else.
_SEGMENT = re.compile(r"[\w.:@+&,()#=!'-](?:[\w .:@+&,()#=!'-]*[\w.:@+&,()#=!'-])?")


def problem(folder: str) -> str | None:
    """What is wrong with a folder, if anything is."""
    if len(folder) > MAX_LENGTH:
        return f"has more than {MAX_LENGTH} characters"
    segments = folder.removeprefix("/").split("/") if folder not in ("", ROOT) else []
    if len(segments) > MAX_DEPTH:
        return f"is nested deeper than {MAX_DEPTH}"
    for segment in segments:
        if segment in (".", ".."):
            return "must not hold '.' or '..'"
        if not _SEGMENT.fullmatch(segment):
            return "is a path like /work/jobs: letters, digits, spaces inside and any of . _ - : @ + & , ( ) # = ! '"
    return None


def place(folder: str) -> str:
    """The key of a good folder: the keys of all that lies below it begin with it. `"jobs"` → `"/jobs/"`."""
    inside = folder.strip("/")
    return f"/{inside}/" if inside else ROOT


def subtree(folder: str) -> tuple[str, str]:
    """Half-open range of keys: the folder and everything below it."""
    low = place(folder)
    return low, low[:-1] + chr(ord("/") + 1)
