"""Find the rows of a points file by id, for writers and for searches among given ids."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from memories.index.base import IdHalves
from memories.index.local.points_file import PointsFile, gathered

# Rows added since the last sort are kept in a dictionary. When the dictionary would exceed this number of rows or an
# eighth of the number of sorted rows, whichever is larger, all rows are sorted. In the dictionary, a row takes 108
# bytes in every process that uses the tenant. Sorting 16,000 rows takes 1 ms.
SORT_AFTER_ROWS = 2_048
_LOW = (1 << 64) - 1

Rows = NDArray[np.intp]


class RowFinder:
    """Finds rows by id, in one process.

    It consists of a sorted array with half of each id (12 bytes per row), and a dictionary of the rows added since the
    last sort.
    """

    def __init__(self) -> None:
        self._keys: NDArray[np.uint64] = np.empty(0, np.uint64)
        self._rows: NDArray[np.uint32] = np.empty(0, np.uint32)
        self._recent: dict[int, int] = {}
        self._seen = 0

    def find(self, file: PointsFile, ids: Sequence[UUID]) -> list[int | None]:
        """Return the live row for each id, or None if there is none. The caller must hold the tenant's lock."""
        self._catch_up(file)
        starts = np.searchsorted(self._keys, np.array([id.int & _LOW for id in ids], np.uint64)).tolist()
        return [self._live(file, id, start) for id, start in zip(ids, starts, strict=True)]

    def live(self, file: PointsFile, ids: IdHalves) -> Rows:
        """Return the live rows of these ids in ascending order. The caller does not need the tenant's lock."""
        self._catch_up(file)
        recent = self._recent
        pairs = ids.tolist() if recent else []
        added = [row for high, low in pairs if (row := recent.get(high << 64 | low)) is not None]
        rows = np.concatenate((self._sorted_rows(file, ids), np.array(added, np.intp)))
        rows.sort()
        return _where(rows, gathered(file, rows, lambda columns, places: columns.labels[places]) != 0)

    def _sorted_rows(self, file: PointsFile, ids: IdHalves) -> Rows:
        """Return the rows of these ids that existed at the last sort, including rows that have died since then."""
        ids = ids[np.argsort(ids[:, 1])]  # searching for ascending keys is faster
        starts = np.searchsorted(self._keys, ids[:, 1])
        counts = np.searchsorted(self._keys, ids[:, 1], "right") - starts
        # The ids of several rows can have the same lower half.
        places = np.arange(counts.sum()) + np.repeat(starts - np.cumsum(counts) + counts, counts)
        order = np.argsort(self._rows[places])
        rows = self._rows[places][order].astype(np.intp)
        return _where(rows, self._firsts(file, rows) == np.repeat(ids[:, 0], counts)[order])

    def _firsts(self, file: PointsFile, rows: Rows) -> NDArray[np.uint64]:
        """Return the upper half of each row's id. The row numbers must be in ascending order."""
        return gathered(file, rows, lambda columns, places: columns.ids[places, 0])

    def _live(self, file: PointsFile, id: UUID, start: int) -> int | None:
        recent = self._recent.get(id.int)
        if recent is not None:
            return recent if _is_live(file, recent) else None
        for at in range(start, len(self._keys)):
            if int(self._keys[at]) != id.int & _LOW:
                break
            row = int(self._rows[at])
            columns, place = file.at(row)
            if int(columns.ids[place, 0]) == id.int >> 64 and columns.labels[place]:
                return row
        return None

    def _catch_up(self, file: PointsFile) -> None:
        """Add the rows that any process has appended to the file since the last call."""
        count = file.count
        if count - self._seen + len(self._recent) > max(SORT_AFTER_ROWS, len(self._keys) // 8):
            self._sort(file, count)
        for chunk, places in file.parts(self._seen, count):
            first = chunk.first + places.start
            for number, (high, low) in enumerate(chunk.columns.ids[places].tolist()):
                self._recent[high << 64 | low] = first + number
        self._seen = count

    def _sort(self, file: PointsFile, count: int) -> None:
        keys, rows = [], []
        for chunk, places in file.parts(0, count):
            live = np.flatnonzero(chunk.columns.labels[places])
            keys.append(chunk.columns.ids[places][live, 1])
            rows.append((live + chunk.first).astype(np.uint32))
        self._keys, self._rows = np.concatenate(keys), np.concatenate(rows)
        order = np.argsort(self._keys, kind="stable")
        self._keys, self._rows = self._keys[order], self._rows[order]
        self._recent, self._seen = {}, count


def _where(rows: Rows, good: NDArray[np.bool_]) -> Rows:
    return np.compress(good, rows)


def _is_live(file: PointsFile, row: int) -> bool:
    columns, at = file.at(row)
    return bool(columns.labels[at])
