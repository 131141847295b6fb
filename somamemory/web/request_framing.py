"""Estimate whether a request has arrived completely, including the body that its head announces.

The estimate only determines when a request is given to a thread. gunicorn's parser then reads the bytes that have
arrived and nothing else, so a wrong estimate can cost time, but cannot mix up two requests.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_HEAD_BYTES = 64 * 1024
_END = re.compile(rb"\r?\n\r?\n")
_PATH = re.compile(rb"[A-Z]+ ([^ ?#]*)")
_FIELD = re.compile(rb"\n(content-length|transfer-encoding|expect)[ \t]*:[ \t]*([^\r\n]*)", re.IGNORECASE)
_MAX_LENGTH_DIGITS = 20  # as in `problems`, so that the application rejects a longer one without reading the body


@dataclass(frozen=True, slots=True)
class Head:
    """The information in the head of a request. Sizes are in bytes.

    body_size: None if it is unknown, because the body is chunked or the head is malformed.
    """

    path: bytes
    size: int
    body_size: int | None
    expects_continue: bool


def find_head(received: bytes | bytearray, searched: int = 0) -> Head | None:
    """Return the head at the start of these bytes, or None while it is incomplete.

    searched: how many bytes an earlier call has already searched.
    """
    end = _END.search(received, max(0, searched - 3))
    if end is None:
        return None
    head = bytes(received[: end.end()])
    path = _PATH.match(head)
    found = [(name.lower(), value.strip()) for name, value in _FIELD.findall(head)]
    fields = dict(found)
    framing = [name for name, _ in found if name != b"expect"]
    return Head(
        path=path[1] if path else b"",
        size=len(head),
        body_size=_body_size(fields) if len(framing) == len(set(framing)) else None,
        expects_continue=fields.get(b"expect", b"").lower() == b"100-continue",
    )


def _body_size(fields: dict[bytes, bytes]) -> int | None:
    length = fields.get(b"content-length", b"0")
    if b"transfer-encoding" in fields or not length.isdigit() or len(length) > _MAX_LENGTH_DIGITS:
        return None
    return int(length)
