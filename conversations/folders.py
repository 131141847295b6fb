"""Folders: paths that group conversations. Pure functions.

`/jobs`, `jobs` and `/jobs/` are the same folder. This folder contains `/jobs/2026`, but not `/jobs-old`.
"""

from __future__ import annotations

import re
import unicodedata

MAX_LENGTH = 500
MAX_DEPTH = 32
_LONGEST_DECOMPOSITION = 4  # the maximum number of characters that NFC combines into one
ROOT = "/"
# Allows letters and digits of any script (their combining marks are removed first), spaces between other characters,
# and some punctuation, but no character with a special meaning in shells, URLs or patterns.
_SEGMENT = re.compile(r"[\w.:@+&,()#=!'-](?:[\w .:@+&,()#=!'-]*[\w.:@+&,()#=!'-])?")


def normalized(folder: str) -> str:
    """Return a folder in its stored form: Unicode NFC, without a trailing slash."""
    composed = unicodedata.normalize("NFC", folder)
    return composed if composed == ROOT or composed.endswith("//") else composed.removesuffix("/")


def problem(folder: str) -> str | None:
    """Return the problem with a folder, or None if it is valid. The text says how to fix it."""
    # Check the length first, because normalising a long run of combining marks takes quadratic time.
    if len(folder) > _LONGEST_DECOMPOSITION * MAX_LENGTH + 1 or len(folder := normalized(folder)) > MAX_LENGTH:
        return f"must have at most {MAX_LENGTH} characters"
    segments = folder.removeprefix("/").split("/") if folder not in ("", ROOT) else []
    if len(segments) > MAX_DEPTH:
        return f"must not be nested more than {MAX_DEPTH} folders deep"
    for segment in segments:
        if segment in (".", ".."):
            return "must not contain a folder named '.' or '..'"
        if not _SEGMENT.fullmatch(_without_marks(segment)):
            return (
                "must be a path such as /work/jobs; folder names may contain letters, digits, inner spaces and any "
                "of . _ - : @ + & , ( ) # = ! '"
            )
    return None


def place(folder: str) -> str:
    """Return the key of a valid folder. The keys of its subfolders begin with this key: `"jobs"` → `"/jobs/"`."""
    inside = normalized(folder).removeprefix("/")
    return f"/{inside}/" if inside else ROOT


def subtree(folder: str) -> tuple[str, str]:
    """Return the half-open range of keys that covers the folder and its subfolders."""
    low = place(folder)
    return low, low[:-1] + chr(ord("/") + 1)


def _without_marks(segment: str) -> str:
    r"""Remove combining marks: vowel signs, and accents for which Unicode has no precomposed letter.

    Folder names may contain them after the first character, but `\w` does not match them.
    """
    return segment[:1] + "".join(char for char in segment[1:] if unicodedata.category(char) not in ("Mn", "Mc"))
