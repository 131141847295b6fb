"""The three ways to identify a memory: coordinate, key and id. This module is pure: it does no I/O.

A *key* is a name chosen by the caller, such as `users/ada/seat`. It is unique in its namespace, and stays with its
memory until the memory is purged. Every memory has a coordinate and an id as well.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from uuid import UUID

from memories.coordinates import Coordinate

MAX_KEY_LENGTH = 512
SEPARATOR = "/"
_AFTER_SEPARATOR = chr(ord(SEPARATOR) + 1)


@dataclass(frozen=True, slots=True)
class Key:
    """A validated key. Create one with `key`."""

    text: str

    def __str__(self) -> str:
        return self.text


Address = Coordinate | Key | UUID


def key(text: str) -> Key:
    """Return the text as a key. Raises ValueError, with the reason, if it is not a valid key."""
    if not 1 <= len(text) <= MAX_KEY_LENGTH:
        raise ValueError(f"must have 1 to {MAX_KEY_LENGTH} characters, not {len(text)}")
    if any(unicodedata.category(character) == "Cc" for character in text):
        raise ValueError("must not contain control characters")
    if {".", ".."}.intersection(text.split(SEPARATOR)):
        # Clients and proxies resolve these segments in a URL path, so a request would reach a different memory.
        raise ValueError("must not contain the segment '.' or '..'")
    return Key(text)


@dataclass(frozen=True, slots=True)
class KeyPrefix:
    """A key and every key below it: `users/ada` contains `users/ada` and `users/ada/seat`, but not `users/adam`."""

    text: str

    @property
    def range(self) -> tuple[str, str]:
        """Return a half-open range that includes every key that the prefix contains, and possibly others."""
        stem = self.text.removesuffix(SEPARATOR)
        return self.text, stem + _AFTER_SEPARATOR

    @property
    def below(self) -> str:
        """Return the text that every key below the prefix begins with."""
        return self.text.removesuffix(SEPARATOR) + SEPARATOR

    def contains(self, key: str) -> bool:
        return key == self.text or key.startswith(self.below)
