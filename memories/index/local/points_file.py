"""One tenant's points, in a file that every process on the machine maps into memory, apart from most of the vectors.

Rows are appended, and published by increasing the count in the header, which a writer does last. Deleting a row clears
its label. Readers need no lock; writers hold the tenant's lock.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from mmap import mmap
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from memories.index.local import layout
from memories.index.local.codes import checksums
from memories.index.local.layout import Columns
from memories.index.local.vector_column import OpenFile, VectorColumn
from somamemory.errors import IndexUnavailable

PRIVATE = 0o600


class Damaged(Exception):
    """Raised if a file is corrupt or was written in a different format."""


@dataclass(frozen=True, slots=True)
class Chunk:
    first: int  # the number of the chunk's first row
    columns: Columns
    memory: mmap = field(repr=False)


Number = TypeVar("Number", bound=np.generic)


class PointsFile:
    """An open file. Each access to a property such as `count` or `retired` reads the header, which processes share."""

    def __init__(self, path: Path, dimension: int, opened: OpenFile) -> None:
        self.path = path
        self.dimension = dimension
        self._opened = opened
        self._chunks: list[Chunk] = []
        self._mapping = threading.Lock()
        self._header: NDArray[np.uint64] = np.empty(0, np.uint64)

    @classmethod
    @contextmanager
    def replacement(cls, path: Path, dimension: int, rows: int = 0) -> Iterator[PointsFile]:
        """Provide a new, empty file with space for `rows` rows. It replaces any existing file when this context ends.

        If there is an error, nothing is replaced, and the new file is deleted.
        """
        draft = path.with_suffix(".new")
        try:
            made = cls(path, dimension, OpenFile(draft, os.O_RDWR | os.O_CREAT | os.O_TRUNC, PRIVATE))
            for number in range(max(layout.chunks_for(rows), 1)):
                made._reserve(number)
            made._map_header()
            made._header[layout.MAGIC_AT], made._header[layout.FORMAT_AT] = layout.MAGIC, layout.FORMAT
            made._header[layout.DIMENSION_AT] = dimension
            made.mark_verified()
            yield made
            os.replace(draft, path)
        except BaseException:  # such as KeyboardInterrupt; a draft that is left behind takes up disk space
            draft.unlink(missing_ok=True)
            raise

    @classmethod
    def open(cls, path: Path, dimension: int) -> PointsFile | None:
        """Return the file, or None if there is none. Raises Damaged if its header is not valid."""
        try:
            opened = OpenFile(path, os.O_RDWR, PRIVATE)
        except FileNotFoundError:
            return None
        found = cls(path, dimension, opened)
        found._check_header()
        return found

    def _check_header(self) -> None:
        size = os.fstat(self._opened.descriptor).st_size
        places = layout.places(self.dimension)
        if size < places[0].length:
            raise Damaged("the file is too short")
        self._map_header()
        head = [int(word) for word in self._header[:3]]
        if head != [layout.MAGIC, layout.FORMAT, self.dimension]:
            raise Damaged("the file has a different format")
        chunks = layout.chunks_for(self.count)
        if chunks > layout.MAX_CHUNKS or (chunks and size < places[chunks - 1].start + places[chunks - 1].length):
            raise Damaged("the file is shorter than its header says")

    # -- the header ------------------------------------------------------------------------------------------------

    @property
    def count(self) -> int:
        """The number of rows, including dead ones."""
        return int(self._header[layout.COUNT_AT])

    @property
    def label_count(self) -> int:
        return int(self._header[layout.LABELS_AT])

    @label_count.setter
    def label_count(self, count: int) -> None:
        self._header[layout.LABELS_AT] = count

    @property
    def dead(self) -> int:
        return int(self._header[layout.DEAD_AT])

    @property
    def retired(self) -> bool:
        """Whether the file has been replaced or deleted and must be opened again."""
        return bool(self._header[layout.RETIRED_AT])

    @retired.setter
    def retired(self, value: bool) -> None:
        self._header[layout.RETIRED_AT] = value

    @staticmethod
    def retire_at(path: Path) -> None:
        """Retire a file without opening it as a PointsFile, because it may be damaged."""
        with suppress(FileNotFoundError):
            descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.pwrite(descriptor, b"\1", 8 * layout.RETIRED_AT)  # any byte that is not 0
            finally:
                os.close(descriptor)

    @property
    def rebuilding(self) -> bool:
        """Whether points that were lost are being restored."""
        return bool(self._header[layout.REBUILDING_AT])

    @rebuilding.setter
    def rebuilding(self, value: bool) -> None:
        self._header[layout.REBUILDING_AT] = value

    @property
    def interrupted(self) -> bool:
        """Whether a writer was killed before it finished. The caller must hold the lock, so no writer is active."""
        return bool(self._header[layout.WRITING_AT])

    @contextmanager
    def writing(self) -> Iterator[None]:
        self._header[layout.WRITING_AT] = 1
        yield
        self._header[layout.WRITING_AT] = 0

    @property
    def verified(self) -> bool:
        """Whether the file has been created or verified since the machine started."""
        return bool((self._header[layout.VERIFIED_AT] == _BOOT).all())

    def mark_verified(self) -> None:
        self._header[layout.VERIFIED_AT] = _BOOT

    @property
    def compared(self) -> bool:
        """Whether the file has been compared with the database since the machine started.

        If so, no write was lost. A file that has only been verified may lack rows: those that were not written to disk
        before a power cut, or those of an earlier file that has been deleted.
        """
        return bool((self._header[layout.COMPARED_AT] == _BOOT).all())

    @compared.setter
    def compared(self, value: bool) -> None:
        self._header[layout.COMPARED_AT] = _BOOT if value else 0

    def kill_torn(self) -> int:
        """Mark rows with a wrong checksum or an unknown label as dead, and return how many there are."""
        torn: list[int] = []
        for chunk, places in self.parts(0, self.count):
            rows = chunk.columns[places]
            wrong = (rows.labels != 0) & ((checksums(rows) != rows.checksums) | (rows.labels > self.label_count))
            torn += (np.flatnonzero(wrong) + chunk.first).tolist()
        self.kill(torn)
        return len(torn)

    # -- rows ------------------------------------------------------------------------------------------------------

    def parts(self, start: int, stop: int) -> Iterator[tuple[Chunk, slice]]:
        """Yield the chunks that contain the rows from `start` to `stop`, each with the slice of those rows."""
        for number in range(layout.chunk_of(start), layout.chunks_for(stop)):
            chunk = self.chunk(number)
            yield chunk, slice(max(start - chunk.first, 0), min(stop - chunk.first, len(chunk.columns)))

    def chunk(self, number: int) -> Chunk:
        while len(self._chunks) <= number:
            with self._mapping:
                if len(self._chunks) <= number:
                    self._chunks.append(self._map(len(self._chunks)))
        return self._chunks[number]

    def at(self, row: int) -> tuple[Columns, int]:
        """Return the columns that contain a row, and its position in them."""
        chunk = self.chunk(layout.chunk_of(row))
        return chunk.columns, row - chunk.first

    def append(self, rows: Columns) -> None:
        """Append rows and publish them. Raises IndexUnavailable if there is not enough space."""
        start = self.count
        stop = start + len(rows)
        for number in range(layout.chunks_for(start), layout.chunks_for(stop)):
            self._reserve(number)
        done = 0
        for chunk, places in self.parts(start, stop):
            size = places.stop - places.start
            chunk.columns.write(places.start, rows[done : done + size])
            done += size
        self._header[layout.COUNT_AT] = stop

    def kill(self, rows: list[int]) -> None:
        """Mark rows as dead, and overwrite their vectors, because a vector can reveal its text."""
        for row in rows:
            columns, at = self.at(row)
            columns.labels[at] = 0
            columns.codes[at] = 0
            columns.vectors[at] = 0
        self._header[layout.DEAD_AT] += np.uint64(len(rows))

    def kill_duplicates(self) -> None:
        """If several live rows have the same id, mark all but the last of them as dead.

        This is the case if a writer was killed after it had appended a row but before it marked the previous one as
        dead.
        """
        if not self.count:
            return
        live = [(chunk.first + places.start, chunk.columns[places]) for chunk, places in self.parts(0, self.count)]
        rows = np.concatenate([first + np.flatnonzero(columns.labels) for first, columns in live])
        ids = np.concatenate([columns.ids[columns.labels != 0] for _, columns in live])
        order = np.lexsort((rows, ids[:, 1], ids[:, 0]))
        same = (ids[order][1:] == ids[order][:-1]).all(axis=1)
        self.kill(rows[order][:-1][same].tolist())
        self._header[layout.DEAD_AT] = self.count - len(rows) + int(same.sum())

    def _map_header(self) -> None:
        self._header = np.frombuffer(self.chunk(0).memory, np.uint64, layout.HEADER_WORDS)

    def _map(self, number: int) -> Chunk:
        place = layout.places(self.dimension)[number]
        memory = mmap(self._opened.descriptor, layout.mapped_length(place), offset=place.start)
        vectors = VectorColumn(self._opened, place.start + place.columns[-1], place.rows, self.dimension)
        return Chunk(layout.FIRSTS[number], layout.view(memory, place, vectors), memory)

    def _reserve(self, number: int) -> None:
        """Reserve disk space for a chunk. If the disk were full, writing to mapped memory would kill the process."""
        if number >= layout.MAX_CHUNKS:
            raise IndexUnavailable(
                f"the vector index can hold at most {layout.FIRSTS[-1]:,} points per tenant; use pgvector or Milvus"
            )
        place = layout.places(self.dimension)[number]
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(self._opened.descriptor, place.start, place.length)
            else:
                os.ftruncate(self._opened.descriptor, place.start + place.length)
        except OSError as error:
            raise IndexUnavailable(
                f"the vector index files could not be extended: {error.strerror}; check the disk space"
            ) from error


def gathered(
    file: PointsFile, rows: NDArray[np.intp], read: Callable[[Columns, NDArray[np.intp]], NDArray[Number]]
) -> NDArray[Number]:
    """Call `read` for each chunk that contains some of the rows, and concatenate the results.

    rows: row numbers in ascending order.
    """
    return np.concatenate([read(columns, places) for columns, places in located(file, rows)])


def located(file: PointsFile, rows: NDArray[np.intp]) -> list[tuple[Columns, NDArray[np.intp]]]:
    """Return the columns of each chunk that contains some of the rows, with the positions of these rows in them.

    If there are no rows, the result contains the first chunk without any positions.

    rows: row numbers in ascending order.
    """
    if not len(rows):
        return [(file.chunk(0).columns, rows)]
    ends = np.searchsorted(rows, layout.FIRSTS[1 : layout.chunks_for(int(rows[-1]) + 1) + 1]).tolist()
    found, start = [], 0
    for number, end in enumerate(ends):
        if end > start:
            chunk = file.chunk(number)
            found.append((chunk.columns, rows[start:end] - chunk.first))
            start = end
    return found


def _boot() -> NDArray[np.uint64]:
    """Return the machine's boot id, or random bytes if the operating system does not provide one."""
    try:
        text = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip().replace("-", "")
        return np.frombuffer(bytes.fromhex(text), np.uint64)
    except (OSError, ValueError):
        return np.frombuffer(os.urandom(16), np.uint64)


_BOOT = _boot()
