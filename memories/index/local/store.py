"""One tenant's points, in the files that this process has opened."""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from memories.index.base import Hit, Ids, Point, Vector, Where, halves
from memories.index.local import codes, scan
from memories.index.local.labels import Labels
from memories.index.local.layout import Columns
from memories.index.local.points_file import PointsFile, gathered
from memories.index.local.row_finder import RowFinder
from somamemory.errors import IndexUnavailable

log = logging.getLogger("soma.index")

POINTS, LABELS = "points", "labels"
# Dead rows are removed when there are this many more of them than live rows.
COMPACT_AFTER_ROWS = 4_096
_LOW = (1 << 64) - 1
_DIGITS = 32  # per id


class Store:
    """One tenant's points, with their labels. A writer must hold the tenant's lock; a reader does not need it."""

    def __init__(self, folder: Path, file: PointsFile) -> None:
        self.folder, self.file = folder, file
        self._labels = Labels(folder / LABELS)
        self._finder = RowFinder()
        self._lookup, self._lookups = RowFinder(), threading.Lock()  # for searches, which do not wait for writers

    @classmethod
    def create(cls, folder: Path, dimension: int) -> Store:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (folder / LABELS).unlink(missing_ok=True)
        with PointsFile.replacement(folder / POINTS, dimension) as file:
            pass
        return cls(folder, file)

    @classmethod
    def open(cls, folder: Path, dimension: int) -> Store | None:
        """Return the store, or None if the tenant has none. Raises Damaged if a file cannot be read."""
        file = PointsFile.open(folder / POINTS, dimension)
        if file is None:
            return None
        store = cls(folder, file)
        store._labels.read(file.label_count)
        return store

    @staticmethod
    def delete_folder(folder: Path) -> None:
        """Delete a tenant's files, even if they are damaged. Processes that have them open will notice."""
        PointsFile.retire_at(folder / POINTS)
        shutil.rmtree(folder, ignore_errors=True)

    def verify(self) -> None:
        """Mark as dead any rows that were not completely written before the machine restarted."""
        with self.file.writing():
            torn = self.file.kill_torn()
            self.file.kill_duplicates()
        if torn:
            log.warning("vector index rows were lost in a restart and will be restored", extra={"rows": torn})
        self.file.mark_verified()

    def search(self, vector: Vector, where: Where, limit: int) -> list[Hit]:
        self._refuse_if_rebuilding()

        def matching(label_count: int) -> NDArray[np.uint32]:
            self._labels.read(label_count)
            return self._labels.matching(where)

        return _hits(*scan.nearest(self.file, matching, vector, limit))

    def nearest_of(self, ids: Ids, vector: Vector, limit: int) -> list[Hit]:
        self._refuse_if_rebuilding()
        wanted = halves(ids)
        for _ in range(scan.PASSES):
            with self._lookups:
                file = self.file  # the rows have different numbers in the file that replaces it
                rows = self._lookup.live(file, wanted)
            found = scan.nearest_of(file, rows, vector, limit)
            if gathered(file, rows, lambda columns, places: columns.labels[places]).all():
                break  # otherwise, a row has died in the meantime, and its vector may already have been overwritten
        return _hits(*found)

    def _refuse_if_rebuilding(self) -> None:
        if self.file.rebuilding:
            raise IndexUnavailable("this tenant's vector index is being rebuilt; retry later")

    def scan(self, prefix: str) -> Iterator[tuple[UUID, int]]:
        """Yield (id, version) of the live rows whose ids begin with these hexadecimal digits."""
        low, high = (int(prefix.ljust(16, digit)[:16], 16) for digit in "0f")
        for chunk, places in self.file.parts(0, self.file.count):
            rows = chunk.columns[places]
            first = rows.ids[:, 0]
            found = np.flatnonzero((rows.labels != 0) & (first >= np.uint64(low)) & (first <= np.uint64(high)))
            for (left, right), version in zip(rows.ids[found].tolist(), rows.versions[found].tolist(), strict=True):
                yield UUID(int=left << 64 | right), version

    # -- with the tenant's lock ------------------------------------------------------------------------------------

    def upsert(self, points: Sequence[Point], vectors: Vector) -> None:
        """Append the points, and mark the rows that they replace as dead. A higher version is never replaced."""
        self._labels.read(self.file.label_count)
        old = self._finder.find(self.file, [point.id for point in points])
        new = [at for at, row in enumerate(old) if row is None or self._version(row) <= points[at].version]
        if not new:
            return
        rows = self._rows([points[at] for at in new], vectors[new])
        with self.file.writing():
            self.file.append(rows)
            self.file.kill([row for at in new if (row := old[at]) is not None])
        self._compact_if_worthwhile()

    def delete(self, ids: Sequence[UUID], versions: Sequence[int]) -> None:
        """Mark the rows of these points as dead, except those with a higher version than the given one."""
        found = zip(self._finder.find(self.file, ids), versions, strict=True)
        self.file.kill(list({row for row, version in found if row is not None and self._version(row) <= version}))
        self._compact_if_worthwhile()

    def repair(self) -> None:
        """Complete or undo any change that a killed writer left unfinished."""
        if self.file.retired:  # the file is still in place, so the writer was killed before replacing it
            self.file.retired = False
        if self.file.interrupted:
            with self.file.writing():
                self.file.kill_duplicates()

    def _version(self, row: int) -> int:
        columns, at = self.file.at(row)
        return int(columns.versions[at])

    def _rows(self, points: Sequence[Point], vectors: Vector) -> Columns:
        steps, scales = codes.encode(vectors)
        labels = self._labels.numbers((point.namespace, point.memory_type) for point in points)
        self.file.label_count = len(self._labels)
        rows = Columns(
            labels=np.array(labels, np.uint32),
            scales=scales,
            codes=steps,
            ids=np.array([(p.id.int >> 64, p.id.int & _LOW) for p in points], np.uint64),
            versions=np.array([p.version for p in points], np.int64),
            checksums=np.zeros(len(points), np.uint64),
            vectors=vectors,
        )
        rows.checksums[:] = codes.checksums(rows)
        return rows

    def _compact_if_worthwhile(self) -> None:
        if 2 * self.file.dead > self.file.count + COMPACT_AFTER_ROWS:
            self._compact()

    def _compact(self) -> None:
        """Copy the live rows to a new file. Running searches finish with the old file.

        If there is not enough disk space, the dead rows stay until a later write. The current write has already
        succeeded.
        """
        old = self.file
        try:
            with PointsFile.replacement(old.path, old.dimension, old.count - old.dead) as new:
                new.label_count, new.rebuilding, new.compared = old.label_count, old.rebuilding, old.compared
                for chunk, places in old.parts(0, old.count):
                    rows = chunk.columns[places]
                    new.append(rows[np.flatnonzero(rows.labels)])
                old.retired = True  # set before the file is replaced, so that no process misses the replacement
        except (IndexUnavailable, OSError) as error:
            log.warning("a vector index file could not be compacted", extra={"reason": str(error)})
            return
        with self._lookups:
            self.file, self._finder, self._lookup = new, RowFinder(), RowFinder()


def _hits(ids: NDArray[np.uint64], similarities: NDArray[np.float64]) -> list[Hit]:
    digits = ids.astype(">u8").tobytes().hex()
    return [
        Hit(digits[at : at + _DIGITS], similarity)
        for at, similarity in zip(range(0, len(digits), _DIGITS), similarities.tolist(), strict=True)
    ]
