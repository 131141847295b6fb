"""Convert arbitrary names to namespaces, keys and external ids.

A namespace may contain only letters, digits and `. _ : / -`. Names that are too long end with a hash.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from hashlib import sha256

MAX_NAMESPACE = 255
MAX_KEY = 512
MAX_ID = 255
KEPT = 128  # a key never shortens a segment of this length
HASH = 34  # length of ":-" and the hash; no escape begins with ":-"

_KEPT = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.")
_ESCAPED = re.compile(r":([0-9A-F]{2})")
_HASHED = re.compile(r":-[0-9a-f]{32}\Z")


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


def path_segment(label: str) -> str:
    """Return a label as a segment that may be in the path of a URL, where `.` and `..` have a meaning."""
    return label.replace(".", ":2E") if label in (".", "..") else segment(label)


def fitted(name: str, most: int) -> str:
    """Return a name of at most `most` characters: the name itself, or its beginning and a hash of all of it."""
    return hashed(name, most) if len(name) > most or _HASHED.search(name) else name


def hashed(name: str, most: int) -> str:
    """Return the beginning of a name, without slashes, and a hash of all of it, in at most `most` characters."""
    digest = sha256(name.encode(errors="surrogatepass")).hexdigest()[: HASH - 2]
    return f"{name[: max(0, most - HASH)].replace('/', '-')}:-{digest}"


def external_id_of(name: str) -> str:
    """Return the external id for a name. A name that cannot be in the path of a URL is hashed."""
    return hashed(name, MAX_ID) if name in ("", ".", "..") or "/" in name else fitted(name, MAX_ID)


def key_of(*labels: str) -> str:
    """Return a key with a segment for each label. If the key is too long, its longest segments are shortened."""
    segments = [path_segment(label) for label in labels]
    if len("/".join(segments)) > MAX_KEY:
        most = (MAX_KEY + 1) // len(segments) - 1
        segments = [fitted(segment, most) for segment in segments]
    return "/".join(segments)


def namespace(root: str, labels: Iterable[str]) -> str:
    """Return the namespace for these labels under a root."""
    return "/".join((root, *map(segment, labels)))


def labels(root: str, namespace: str) -> tuple[str, ...]:
    """Return the labels of a namespace under a root."""
    return tuple(map(label, namespace.removeprefix(root).split("/")[1:]))
