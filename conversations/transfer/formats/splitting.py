"""Split a JSON file into conversations, as bytes, without reading the whole file into memory.

A streaming JSON parser stops at the first error. This module counts the brackets outside strings instead. It finds the
end of each conversation, valid or not, and needs memory only for the longest one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from conversations.transfer.formats.base import Broken
from somamemory import deadline

CHUNK_BYTES = 1 << 18
MAX_ELEMENT_BYTES = 32 * 1024 * 1024  # maximum per conversation; ChatGPT's longest conversations are a few megabytes

_BRACKET = re.compile(rb'["{}\[\]]')
_REST_OF_STRING = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
_QUOTE = ord('"')
_UNFINISHED = "the file ends in the middle of it"
TOO_LONG = f"it is longer than {MAX_ELEMENT_BYTES} bytes"


@dataclass(frozen=True)
class Element:
    """The bytes of one item in a JSON file, and its position for error messages, such as 'item 3 (byte 1024)'."""

    place: str
    raw: bytes


def elements(file: BinaryIO) -> Iterator[Element | Broken]:
    """Yield the items of a JSON array, or of a sequence of JSON objects."""
    scan = _Scan()
    while chunk := file.read(CHUNK_BYTES):
        deadline.check()  # scanning one item of an archive of 30 kB can take 12 s
        yield from scan.feed(chunk)
    yield from scan.end()


def lines(file: BinaryIO) -> Iterator[Element | Broken]:
    """Yield one item per line. An invalid line does not affect the others."""
    number = 0
    while line := file.readline(MAX_ELEMENT_BYTES + 1):
        number += 1
        place = f"line {number}"
        if len(line) > MAX_ELEMENT_BYTES:
            while line and not line.endswith(b"\n"):
                line = file.readline(CHUNK_BYTES)
            yield Broken(place, TOO_LONG)
        elif line.strip():
            yield Element(place, line)


class _Scan:
    def __init__(self) -> None:
        self.buffer = bytearray()
        self.offset = 0  # position of the buffer in the file
        self.at = 0  # position in the buffer; everything before it has been scanned
        self.depth = 0
        self.floor: int | None = None  # the depth at which items begin
        self.start: int | None = None  # start of the current item
        self.in_string = False
        self.too_long = False
        self.place = ""
        self.count = 0

    def feed(self, chunk: bytes) -> Iterator[Element | Broken]:
        self.buffer += chunk
        while (bracket := self._next_bracket()) is not None:
            if bracket in b"{[":
                self._open(bracket)
            else:
                yield from self._close()
        self._forget()

    def end(self) -> Iterator[Broken]:
        if self.start is not None:
            yield Broken(self.place, TOO_LONG if self.too_long else _UNFINISHED)
        elif self.depth:
            yield Broken(f"the end (byte {self.offset + self.at})", "the file ends before its list is closed")

    def _next_bracket(self) -> bytes | None:
        """Return the next bracket outside a string, or None if more bytes are needed."""
        while True:
            if self.in_string:
                rest = _REST_OF_STRING.match(self.buffer, self.at)
                self.at = rest.end() if rest else self.at
                if self.at >= len(self.buffer) or self.buffer[self.at] != _QUOTE:
                    return None
                self.at += 1
                self.in_string = False
            match = _BRACKET.search(self.buffer, self.at)
            if match is None:
                self.at = len(self.buffer)
                return None
            self.at = match.end()
            if match[0] != b'"':
                return match[0]
            self.in_string = True

    def _open(self, bracket: bytes) -> None:
        if self.floor is None:
            self.floor = 1 if bracket == b"[" else 0
        if self.depth == self.floor and self.start is None:
            self.count += 1
            self.start = self.at - 1
            self.place = f"item {self.count} (byte {self.offset + self.start})"
        self.depth += 1

    def _close(self) -> Iterator[Element | Broken]:
        if not self.depth:
            yield Broken(f"byte {self.offset + self.at - 1}", "unmatched closing bracket")
            return
        self.depth -= 1
        if self.start is not None and self.depth == self.floor:
            raw = bytes(self.buffer[self.start : self.at])
            yield (
                Broken(self.place, TOO_LONG)
                if self.too_long or len(raw) > MAX_ELEMENT_BYTES
                else Element(self.place, raw)
            )
            self.start, self.too_long = None, False
        if not self.depth:
            self.floor = None

    def _forget(self) -> None:
        """Drop the bytes in the buffer that are no longer needed."""
        if self.start is not None and self.at - self.start > MAX_ELEMENT_BYTES:
            self.too_long = True
        done = self.at if self.start is None or self.too_long else self.start
        del self.buffer[:done]
        self.offset += done
        self.at -= done
        if self.start is not None:
            self.start = 0
