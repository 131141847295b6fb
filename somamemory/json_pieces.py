"""Write JSON in pieces of bounded size.

Pure. Python's encoder holds the GIL until it has written the whole document. For a list of five million numbers, that
stops every other thread in the process for half a second.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import cast

# The maximum size of a value that is written in one call, counted as characters in strings and items in lists.
PIECE = 65_536
# The maximum number of items to write in one call, for a larger list or object.
BATCH = 1_000


@dataclass(frozen=True)
class JsonPieces:
    """Writes values of any size in the same format as `encode`, which writes the small parts.

    comma, colon: the separators that `encode` uses.
    sort_keys: whether `encode` sorts the members of objects.
    """

    encode: Callable[[object], str]
    comma: str
    colon: str
    sort_keys: bool = False

    def of(self, value: object) -> Iterator[str]:
        if is_small(value):
            yield self.encode(value)
        elif isinstance(value, str):
            yield '"'
            yield from (self.encode(value[at : at + PIECE])[1:-1] for at in range(0, len(value), PIECE))
            yield '"'
        elif isinstance(value, dict):
            yield from self._object(value)
        else:
            yield from self._list(cast(Sequence[object], value))

    def _object(self, members: dict[str, object]) -> Iterator[str]:
        names = sorted(members) if self.sort_keys else list(members)
        yield "{"
        for at in range(0, len(names), BATCH):
            batch = {name: members[name] for name in names[at : at + BATCH]}
            if is_small(batch):
                yield (self.comma if at else "") + self.encode(batch)[1:-1]
                continue
            for position, (name, value) in enumerate(batch.items(), at):
                yield f"{self.comma if position else ''}{self.encode(name)}{self.colon}"
                yield from self.of(value)
        yield "}"

    def _list(self, items: Sequence[object]) -> Iterator[str]:
        yield "["
        for at in range(0, len(items), BATCH):
            batch = list(items[at : at + BATCH])
            if is_small(batch):
                yield (self.comma if at else "") + self.encode(batch)[1:-1]
                continue
            for position, item in enumerate(batch, at):
                yield self.comma if position else ""
                yield from self.of(item)
        yield "]"


def indented(value: object, most: int, *, sort_keys: bool = False) -> str:
    """Return the first `most` characters of a value's indented JSON.

    The whole text can be a thousand times as long as the value, because each line begins with two spaces per level.
    """
    text, length = [], 0
    for piece in json.JSONEncoder(indent=2, ensure_ascii=False, sort_keys=sort_keys).iterencode(value):
        text.append(piece)
        length += len(piece)
        if length >= most:
            break
    return "".join(text)[:most]


def is_small(value: object) -> bool:
    """Return whether a value is small enough to be encoded in one call."""
    return _room_after(value, PIECE) >= 0


def _room_after(value: object, room: int) -> int:
    """Return the room left after a value, or a negative number as soon as it is clear that the value does not fit."""
    if isinstance(value, str):
        return room - len(value)
    if isinstance(value, dict):
        for name, item in value.items():
            room = _room_after(item, room - len(name) - 1)
            if room < 0:
                break
    elif isinstance(value, list | tuple):
        room -= len(value)
        for item in value if room >= 0 else ():
            if isinstance(item, str | dict | list | tuple):
                room = _room_after(item, room)
                if room < 0:
                    break
    return room
