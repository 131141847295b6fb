"""The layout of a points file: a header, then chunks of rows. Each chunk contains its columns one after another.

Each chunk is larger than the one before, up to a maximum, so that small tenants have small files and the rows of large
tenants are scanned in long runs. A chunk never moves, so each chunk is mapped into memory only once.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from functools import cache
from mmap import ALLOCATIONGRANULARITY, PAGESIZE, mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memories.index.local.vector_column import VectorColumn

FORMAT = 1
MAGIC = int.from_bytes(b"SOMAVECT", "little")
HEADER_BYTES = 4096
# Positions of 64-bit words in the header.
MAGIC_AT, FORMAT_AT, DIMENSION_AT, COUNT_AT, LABELS_AT, RETIRED_AT, WRITING_AT, REBUILDING_AT, DEAD_AT = range(9)
# The machine's boot ids when the rows were last verified, and when they were last compared with the database.
VERIFIED_AT, COMPARED_AT = slice(9, 11), slice(11, 13)
HEADER_WORDS = 13

FIRST_ROWS, GROWTH, MAX_ROWS = 64, 4, 65_536
MAX_CHUNKS = 256  # the maximum for one tenant, enough for 16.4 million rows
# In chunks with more rows, vectors are read from the file (see `vector_column`). Reading 60 vectors takes 0.1 ms less
# if they are mapped. With 256 dimensions, the chunks with up to this many rows contain 16 MiB of vectors in total.
MAPPED_ROWS = 12_288
# A chunk begins at an offset that every machine can map; the largest pages in use are 64 KiB.
_CHUNK_ALIGNMENT = max(65_536, ALLOCATIONGRANULARITY)
_COLUMN_ALIGNMENT = 64  # the size of a cache line


def _first_rows() -> list[int]:
    firsts, total = [0], FIRST_ROWS
    while len(firsts) <= MAX_CHUNKS:
        firsts.append(total)
        total = min(total * GROWTH, total + MAX_ROWS)
    return firsts


FIRSTS = _first_rows()  # the number of the first row of each chunk, and of the chunk that would follow the last one


@dataclass(frozen=True, slots=True)
class Columns:
    """Rows of points, by column.

    labels: the label for the namespace and memory type (see `labels`), or 0 for a dead row; uint32.
    scales: the value of one step of the row's codes; float32.
    codes: the vector in steps of `scales`, from -127 to 127; int8, (rows, dimension).
    ids: the two halves of the UUID as integers, most significant first; uint64, (rows, 2).
    versions: the version of each memory; int64.
    checksums: a checksum of all other columns except `labels`; uint64.
    vectors: vectors of length 1; float32, (rows, dimension).
    """

    labels: NDArray[np.uint32]
    scales: NDArray[np.float32]
    codes: NDArray[np.int8]
    ids: NDArray[np.uint64]
    versions: NDArray[np.int64]
    checksums: NDArray[np.uint64]
    vectors: NDArray[np.float32] | VectorColumn

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, rows: slice | NDArray[np.intp]) -> Columns:
        return Columns(*(getattr(self, name)[rows] for name in COLUMNS))

    def write(self, start: int, rows: Columns) -> None:
        for name in COLUMNS:
            getattr(self, name)[start : start + len(rows)] = getattr(rows, name)


COLUMNS = ("labels", "scales", "codes", "ids", "versions", "checksums", "vectors")


@dataclass(frozen=True, slots=True)
class Place:
    """The position of a chunk in the file, and the positions of its columns in the chunk, in bytes.

    rows: the number of rows in the chunk.
    """

    rows: int
    start: int
    length: int
    columns: tuple[int, ...]


def chunk_of(row: int) -> int:
    return bisect_right(FIRSTS, row) - 1


def chunks_for(count: int) -> int:
    """Return how many chunks `count` rows occupy."""
    return chunk_of(count - 1) + 1 if count else 0


@cache
def places(dimension: int) -> tuple[Place, ...]:
    """Return the position of every chunk in a file whose vectors have this dimension."""
    found, start = [], 0
    for number in range(MAX_CHUNKS):
        rows = FIRSTS[number + 1] - FIRSTS[number]
        offset, columns = HEADER_BYTES if number == 0 else 0, []
        for name, spec in _specs(dimension).items():
            offset = _aligned(offset, PAGESIZE if name == "vectors" else _COLUMN_ALIGNMENT)
            columns.append(offset)
            offset += rows * spec.itemsize
        length = _aligned(offset, _CHUNK_ALIGNMENT)
        found.append(Place(rows, start, length, tuple(columns)))
        start += length
    return tuple(found)


def mapped_length(place: Place) -> int:
    """Return how many bytes of a chunk to map into memory. Only small chunks are mapped with their vectors."""
    return place.length if place.rows <= MAPPED_ROWS else place.columns[-1]


def view(buffer: mmap, place: Place, vectors: VectorColumn) -> Columns:
    """Return the columns of a chunk as arrays in the mapped memory.

    vectors: the chunk's vectors, used if they are not mapped.
    """
    positions = zip(_specs(vectors.dimension).items(), place.columns, strict=True)
    mapped: dict[str, Any] = {
        name: np.frombuffer(buffer, spec, place.rows, position)
        for (name, spec), position in positions
        if position < len(buffer)
    }
    return Columns(**{"vectors": vectors, **mapped})


def _specs(dimension: int) -> dict[str, np.dtype[Any]]:
    specs = ("u4", "f4", f"({dimension},)i1", "(2,)u8", "i8", "u8", f"({dimension},)f4")
    return dict(zip(COLUMNS, map(np.dtype, specs), strict=True))


def _aligned(offset: int, to: int) -> int:
    return -(-offset // to) * to
