"""Names of any characters as segments of a namespace, which has letters, digits and `. _ : / -` only."""

from __future__ import annotations

import re
from collections.abc import Iterable

_KEPT = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.")
_ESCAPED = re.compile(r":([0-9A-F]{2})")


def segment(label: str) -> str:
    """Return a label with other characters as `:` and the hexadecimal number of each of their bytes in UTF-8."""
    return "".join(chr(byte) if byte in _KEPT else f":{byte:02X}" for byte in label.encode())


def label(segment: str) -> str:
    """Return the label of a segment, and a segment that has another origin as it is."""
    plain = _ESCAPED.sub(lambda match: chr(int(match[1], 16)), segment)
    try:
        return plain.encode("latin-1").decode()
    except UnicodeError:
        return segment


def namespace(root: str, labels: Iterable[str]) -> str:
    """Return the namespace of some labels below a root."""
    return "/".join((root, *map(segment, labels)))


def labels(root: str, namespace: str) -> tuple[str, ...]:
    """Return the labels of a namespace below a root."""
    return tuple(map(label, namespace.removeprefix(root).split("/")[1:]))
