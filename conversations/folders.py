"""Folders: the paths that conversations are filed under. Pure.

`/jobs`, `jobs` and `/jobs/` are the same folder. It contains `/jobs/2026`, but not `/jobs-old`.
"""

from __future__ import annotations

import re
import unicodedata

MAX_LENGTH = 500
MAX_DEPTH = 32
ROOT = "/"
# Letters and digits of any script (without their marks, which are removed before), spaces inside, and some punctuation;
# no character with a special meaning in a shell, a URL or a pattern.
_SEGMENT = re.compile(r"[\w.:@+&,()#=!'-](?:[\w .:@+&,()#=!'-]*[\w.:@+&,()#=!'-])?")


def normalized(folder: str) -> str:
    """Return a folder as it is stored: in Unicode form C, without a slash at the end."""
    composed = unicodedata.normalize("NFC", folder)
    return composed if composed == ROOT or composed.endswith("//") else composed.removesuffix("/")


def problem(folder: str) -> str | None:
    """Return the problem with a folder and its remedy; None if it is valid."""
    folder = normalized(folder)
    if len(folder) > MAX_LENGTH:
        return f"must have at most {MAX_LENGTH} characters"
    segments = folder.removeprefix("/").split("/") if folder not in ("", ROOT) else []
    if len(segments) > MAX_DEPTH:
        return f"must be nested at most {MAX_DEPTH} folders deep"
    for segment in segments:
        if segment in (".", ".."):
            return "must not contain '.' or '..' as a folder name"
        if not _SEGMENT.fullmatch(_without_marks(segment)):
            return (
                "must be a path like /work/jobs: names of letters, digits, inner spaces and any of "
                ". _ - : @ + & , ( ) # = ! '"
            )
    return None


def place(folder: str) -> str:
    """Return the key of a valid folder. The keys of all folders below it begin with it: `"jobs"` → `"/jobs/"`."""
    inside = normalized(folder).removeprefix("/")
    return f"/{inside}/" if inside else ROOT


def subtree(folder: str) -> tuple[str, str]:
    """Return a half-open range of keys: the folder and everything below it."""
    low = place(folder)
    return low, low[:-1] + chr(ord("/") + 1)


def _without_marks(segment: str) -> str:
    """Remove the vowel signs and accents that have no composed letter: they belong to words, but are not letters."""
    return segment[:1] + "".join(char for char in segment[1:] if unicodedata.category(char) not in ("Mn", "Mc"))
