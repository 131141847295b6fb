"""Escape arbitrary names as segments of a namespace, which may contain only letters, digits and `. _ : / -`."""

from __future__ import annotations

import re
from collections.abc import Iterable

_KEPT = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.")
_ESCAPED = re.compile(r":([0-9A-F]{2})")


def segment(label: str) -> str:
    """Return a label as a segment. Characters other than letters, digits and `_ - .` are escaped.

    An escape is `:` and two hexadecimal digits for each byte of the character in UTF-8.
    """
    return "".join(chr(byte) if byte in _KEPT else f":{byte:02X}" for byte in label.encode())


def label(segment: str) -> str:
    """Return the label of a segment, or the segment itself if its escapes are not valid UTF-8."""
    plain = _ESCAPED.sub(lambda match: chr(int(match[1], 16)), segment)
    try:
        return plain.encode("latin-1").decode()
    except UnicodeError:
        return segment


def namespace(root: str, labels: Iterable[str]) -> str:
    """Return the namespace for these labels under a root."""
    return "/".join((root, *map(segment, labels)))


def labels(root: str, namespace: str) -> tuple[str, ...]:
    """Return the labels of a namespace under a root."""
    return tuple(map(label, namespace.removeprefix(root).split("/")[1:]))
