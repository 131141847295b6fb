"""The labels of a tenant's rows: a number for each pair of namespace and memory type.

With labels, a search compares only one number per row. Each pair is a line in an append-only file, and its label is the
line number, starting from 1.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from memories.index.base import Where
from memories.index.local.points_file import PRIVATE, Damaged

Pair = tuple[str, str]


class Labels:
    """The labels that this process has read so far."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._numbers: dict[str, dict[str, int]] = {}  # label by namespace and memory type
        self._count = 0
        self._end = 0  # how many bytes of the file have been read
        self._reading = threading.Lock()

    def __len__(self) -> int:
        return self._count

    def read(self, count: int) -> None:
        """Read until the first `count` labels are known. Raises Damaged if the file has fewer."""
        if self._count >= count:
            return
        with self._reading:
            for line in self._rest()[: count - self._count]:
                self._remember(line)
            if self._count < count:
                raise Damaged("namespaces are missing")

    def matching(self, where: Where) -> NDArray[np.uint32]:
        """Return the labels of the rows that a search can return."""
        numbers: list[int] = []
        for namespace in set(where.namespaces):
            types = self._numbers.get(namespace, {})
            if where.memory_type is None:
                numbers += types.values()
            elif where.memory_type in types:
                numbers.append(types[where.memory_type])
        return np.array(numbers, np.uint32)

    def numbers(self, pairs: Iterable[Pair]) -> list[int]:
        """Return the label of each pair, adding any pairs that are new. The caller must hold the tenant's lock."""
        found = []
        for namespace, memory_type in pairs:
            number = self._numbers.get(namespace, {}).get(memory_type)
            found.append(number or self._add(namespace, memory_type))
        return found

    def _add(self, namespace: str, memory_type: str) -> int:
        line = json.dumps([namespace, memory_type]).encode() + b"\n"
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE)
        try:
            os.ftruncate(descriptor, self._end)  # removes lines that a killed process added but did not publish
            os.pwrite(descriptor, line, self._end)
        finally:
            os.close(descriptor)
        with self._reading:
            self._remember(line)
        return self._count

    def _rest(self) -> list[bytes]:
        try:
            with self._path.open("rb") as file:
                file.seek(self._end)
                return file.read().splitlines(keepends=True)
        except FileNotFoundError:
            return []

    def _remember(self, line: bytes) -> None:
        try:
            namespace, memory_type = json.loads(line)
        except ValueError:
            raise Damaged("a namespace cannot be read") from None
        self._count += 1
        self._end += len(line)
        self._numbers.setdefault(namespace, {})[memory_type] = self._count
