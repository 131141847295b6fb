"""The float32 vectors of a large chunk, which are read from and written to the file without being mapped into memory.

A search reads about 60 vectors from all over the file. If they were mapped, the operating system would also map the
pages around them: on Linux 6.18, hundreds of MiB after a few searches of a file with 1,000,000 vectors.
"""

from __future__ import annotations

import errno
import os
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

_FLOAT_BYTES = 4


class OpenFile:
    """An open file descriptor, which is closed when this object is no longer used."""

    def __init__(self, path: Path, flags: int, mode: int) -> None:
        self.descriptor = os.open(path, flags | os.O_CLOEXEC, mode)
        weakref.finalize(self, os.close, self.descriptor)


@dataclass(frozen=True, slots=True)
class VectorColumn:
    """Behaves like an array of shape (rows, dimension). A slice of it is another column, which has not been read yet.

    start: the position of the first vector in the file, in bytes.
    """

    file: OpenFile
    start: int
    rows: int
    dimension: int

    def __len__(self) -> int:
        return self.rows

    @overload
    def __getitem__(self, rows: slice) -> VectorColumn: ...
    @overload
    def __getitem__(self, rows: int | np.integer[Any] | NDArray[np.integer[Any]]) -> NDArray[np.float32]: ...
    def __getitem__(
        self, rows: slice | int | np.integer[Any] | NDArray[np.integer[Any]]
    ) -> VectorColumn | NDArray[np.float32]:
        if isinstance(rows, slice):
            first, stop, _ = rows.indices(self.rows)
            return VectorColumn(self.file, self._position(first), max(stop - first, 0), self.dimension)
        if isinstance(rows, np.ndarray):
            vectors = b"".join([self._read(row, 1) for row in rows.tolist()])
            return np.frombuffer(vectors, np.float32).reshape(-1, self.dimension)
        return np.frombuffer(self._read(int(rows), 1), np.float32)

    def __setitem__(self, rows: slice | int, vectors: NDArray[np.float32] | VectorColumn | float) -> None:
        first, stop, _ = rows.indices(self.rows) if isinstance(rows, slice) else (rows, rows + 1, 1)
        values = np.broadcast_to(np.asarray(vectors, np.float32), (stop - first, self.dimension))
        data, position = memoryview(values.tobytes()), self._position(first)
        while data:
            written = os.pwrite(self.file.descriptor, data, position)
            data, position = data[written:], position + written

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.frombuffer(self._read(0, self.rows), np.float32).reshape(self.rows, self.dimension)

    def _position(self, row: int) -> int:
        return self.start + row * self.dimension * _FLOAT_BYTES

    def _read(self, row: int, count: int) -> bytes:
        size = count * self.dimension * _FLOAT_BYTES
        data = os.pread(self.file.descriptor, size, self._position(row))
        if len(data) < size:
            raise OSError(errno.EIO, "a vector index file is too short")
        return data
