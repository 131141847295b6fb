"""Folders: paths that conversations are filed under. Pure.

`/jobs`, `jobs` and `/jobs/` are one place, which holds `/jobs/2026` and not `/jobs-old`.
"""

from __future__ import annotations

import re
import unicodedata

MAX_LENGTH = 500
MAX_DEPTH = 32
ROOT = "/"
# Letters and digits of any script (their marks are taken out before), spaces inside, and a few signs; nothing that a
# shell, a URL or a pattern takes for something else.
_SEGMENT = re.compile(r"[\w.:@+&,()#=!'-](?:[\w .:@+&,()#=!'-]*[\w.:@+&,()#=!'-])?")


def normal(folder: str) -> str:
    """A folder as it is kept: in Unicode form C, without a slash at its end."""
    composed = unicodedata.normalize("NFC", folder)
    return composed if composed == ROOT or composed.endswith("//") else composed.removesuffix("/")


def problem(folder: str) -> str | None:
    """What is wrong with a folder, if anything is."""
    folder = normal(folder)
    if len(folder) > MAX_LENGTH:
        return f"has more than {MAX_LENGTH} characters"
    segments = folder.removeprefix("/").split("/") if folder not in ("", ROOT) else []
    if len(segments) > MAX_DEPTH:
        return f"is nested deeper than {MAX_DEPTH}"
    for segment in segments:
        if segment in (".", ".."):
            return "must not hold '.' or '..'"
        if not _SEGMENT.fullmatch(_without_marks(segment)):
            return "is a path like /work/jobs: letters, digits, spaces inside and any of . _ - : @ + & , ( ) # = ! '"
    return None


def place(folder: str) -> str:
    """The key of a good folder: the keys of all that lies below it begin with it. `"jobs"` → `"/jobs/"`."""
    inside = normal(folder).removeprefix("/")
    return f"/{inside}/" if inside else ROOT


def subtree(folder: str) -> tuple[str, str]:
    """Half-open range of keys: the folder and everything below it."""
    low = place(folder)
    return low, low[:-1] + chr(ord("/") + 1)


def _without_marks(segment: str) -> str:
    """Vowel signs and accents that no letter has taken in are marks: part of a word, and no letters."""
    return segment[:1] + "".join(each for each in segment[1:] if unicodedata.category(each) not in ("Mn", "Mc"))
