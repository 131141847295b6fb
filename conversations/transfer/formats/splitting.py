"""Takes a JSON file apart without reading all of it: one conversation after the other, each as its bytes.

A library that reads JSON as a stream gives up at the first mistake. Counting brackets outside of strings finds where
each conversation ends, whatever is wrong inside of it, and the memory needed is that of the longest one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from conversations.transfer.formats.base import Broken

CHUNK_BYTES = 1 << 18
MAX_ELEMENT_BYTES = 32 * 1024 * 1024  # of one conversation; ChatGPT's longest take a few megabytes

_BRACKET = re.compile(rb'["{}\[\]]')
_REST_OF_STRING = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
_QUOTE = ord('"')
_UNFINISHED = "the file ends in the middle of it"
_TOO_LONG = f"it is longer than {MAX_ELEMENT_BYTES} bytes"


@dataclass(frozen=True)
class Element:
    """The bytes of one item, and its place for a person: 'item 3 (byte 1024)'."""

    place: str
    raw: bytes


def elements(file: BinaryIO) -> Iterator[Element | Broken]:
    """The items of an array, or objects one after the other."""
    scan = _Scan()
    while chunk := file.read(CHUNK_BYTES):
        yield from scan.feed(chunk)
    yield from scan.end()


def lines(file: BinaryIO) -> Iterator[Element | Broken]:
    """One item a line; a line that is no JSON concerns no other."""
    number = 0
    while line := file.readline(MAX_ELEMENT_BYTES + 1):
        number += 1
        place = f"line {number}"
        if len(line) > MAX_ELEMENT_BYTES:
            while line and not line.endswith(b"\n"):
                line = file.readline(CHUNK_BYTES)
            yield Broken(place, _TOO_LONG)
        elif line.strip():
            yield Element(place, line)


class _Scan:
    def __init__(self) -> None:
        self.buffer = bytearray()
        self.offset = 0  # of the buffer in the file
        self.at = 0  # in the buffer: all before it has been looked at
        self.depth = 0
        self.floor: int | None = None  # the depth at which items begin
        self.start: int | None = None  # of the item we are in
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
            yield Broken(self.place, _TOO_LONG if self.too_long else _UNFINISHED)
        elif self.depth:
            yield Broken(f"the end (byte {self.offset + self.at})", "the file ends before its list does")

    def _next_bracket(self) -> bytes | None:
        """The next one that is in no string; None when more must be read."""
        while True:
            if self.in_string:
                rest = _REST_OF_STRING.match(self.buffer, self.at)
                self.at = rest.end() if rest else self.at
                if self.at >= len(self.buffer) or self.buffer[self.at] != _QUOTE:
                    return None
                self.at += 1
                self.in_string = False
            found = _BRACKET.search(self.buffer, self.at)
            if found is None:
                self.at = len(self.buffer)
                return None
            self.at = found.end()
            if found[0] != b'"':
                return found[0]
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
            yield Broken(f"byte {self.offset + self.at - 1}", "a bracket is closed here that was never opened")
            return
        self.depth -= 1
        if self.start is not None and self.depth == self.floor:
            raw = bytes(self.buffer[self.start : self.at])
            yield (
                Broken(self.place, _TOO_LONG)
                if self.too_long or len(raw) > MAX_ELEMENT_BYTES
                else Element(self.place, raw)
            )
            self.start, self.too_long = None, False
        if not self.depth:
            self.floor = None

    def _forget(self) -> None:
        """Keep only what is still needed."""
        if self.start is not None and self.at - self.start > MAX_ELEMENT_BYTES:
            self.too_long = True
        done = self.at if self.start is None or self.too_long else self.start
        del self.buffer[:done]
        self.offset += done
        self.at -= done
        if self.start is not None:
            self.start = 0
