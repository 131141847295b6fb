"""Exact search in a points file.

The 8-bit codes of every row are compared with the query. The error of each dot product is bounded, so each row can
either be ruled out as a nearest neighbour or kept as a candidate. The candidates are then compared with the query
again, using their float32 vectors.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memories.index.base import Vector
from memories.index.local.codes import encode, products
from memories.index.local.points_file import Chunk, PointsFile, gathered, located

# The error of a dot product has a standard deviation of at most _SIGMA times the sum of both steps. With a bound of 4.3
# standard deviations, a search misses one in 60,000 of the rows near its limit. With few dimensions, the maximum
# possible error is even smaller than that bound.
_SIGMA = 12**-0.5
_CERTAINTY = 4.3
# If fewer than one in this many rows pass the filter, their codes are copied first, so that only those are compared.
_SPARSE = 6
# The maximum number of passes over new rows while writers are adding them.
PASSES = 5
# With at least this many rows, several threads share a scan. A row takes 0.01 to 0.04 µs, depending on the machine.
SHARED_FROM = 200_000
_SHARES = min(os.cpu_count() or 1, 4)
# If more than this many rows per requested hit are given, their codes, which are a quarter of the size of the vectors,
# are compared first.
_MANY_GIVEN = 4
MAX_CANDIDATES = 8_192  # or four times the limit, if that is more; further candidates are not compared again

_threads = ThreadPoolExecutor(max_workers=16, thread_name_prefix="soma-scan")

Rows = NDArray[np.intp]
Part = tuple[Chunk, slice]
Matching = Callable[[int], NDArray[np.uint32]]  # given n, returns those of the first n labels whose rows match


@dataclass(slots=True)
class _Query:
    vector: Vector  # of shape (1, dimension)
    codes: NDArray[np.int8]
    step: np.float32
    slack: np.float32  # the maximum error of a product, in steps

    @classmethod
    def of(cls, vector: Vector) -> _Query:
        codes, steps = encode(vector[None])
        slack = min(len(vector) ** 0.5 / 2, _CERTAINTY * _SIGMA)
        return cls(vector[None], codes, steps[0], np.float32(slack))


class _Candidates:
    """The rows that may be among the nearest. Rows whose similarity is certainly less than `floor` are left out."""

    def __init__(self, query: _Query, limit: int) -> None:
        self._query, self._limit = query, limit
        self.floor = np.float32(-np.inf)
        self.rows: Rows = np.empty(0, np.intp)
        self.highest = np.empty(0, np.float32)  # the highest possible similarity of each row
        self._steps = np.empty(0, np.float32)

    def add(self, rows: Rows, highest: NDArray[np.float32], steps: NDArray[np.float32]) -> None:
        self.rows = np.concatenate((self.rows, rows))
        self.highest = np.concatenate((self.highest, highest))
        self._steps = np.concatenate((self._steps, steps))
        if len(self.rows) > self._limit:
            self._raise_floor()

    def join(self, others: _Candidates) -> None:
        """Add candidates from other rows, and sort all of them by row."""
        self.add(others.rows, others.highest, others._steps)
        self._select(np.argsort(self.rows))

    def _raise_floor(self) -> None:
        slack = 2 * self._query.slack
        lowest = self.highest - slack * self._steps
        place = len(lowest) - self._limit
        floor = np.partition(lowest, place)[place] - slack * self._query.step
        if floor > self.floor:
            self.floor = floor
            self._select(self.highest >= floor)

    def _select(self, places: NDArray[Any]) -> None:
        self.rows, self.highest, self._steps = self.rows[places], self.highest[places], self._steps[places]


def nearest(
    file: PointsFile, matching: Matching, vector: Vector, limit: int
) -> tuple[NDArray[np.uint64], NDArray[np.float64]]:
    """Return the ids and similarities of the nearest rows, best first, and by id if their similarities are equal.

    Rows added during the search are included, because they may replace rows that were already compared.
    """
    query = _Query.of(vector)
    candidates, done = _Candidates(query, limit), 0
    ids, similarities = _ranked(file, query.vector, candidates.rows, limit)
    for _ in range(PASSES):
        count = file.count
        if count == done:
            break
        labels = matching(file.label_count)
        if len(labels):
            parts, threads = list(file.parts(done, count)), _SHARES if count - done >= SHARED_FROM else 1
            shares = [parts[first::threads] for first in range(threads)]
            others = [_threads.submit(_scan, query, share, labels, _Candidates(query, limit)) for share in shares[1:]]
            _scan(query, shares[0], labels, candidates)
            for other in others:
                candidates.join(other.result())
        done = count
        ids, similarities = _ranked(file, query.vector, _bounded(file, candidates, limit), limit)
    return ids, similarities


def nearest_of(
    file: PointsFile, rows: Rows, vector: Vector, limit: int
) -> tuple[NDArray[np.uint64], NDArray[np.float64]]:
    """Return the ids and similarities of the nearest of these rows, in the same order as `nearest`.

    rows: row numbers in ascending order.
    """
    if len(rows) > _MANY_GIVEN * limit:
        query = _Query.of(vector)
        steps = gathered(file, rows, lambda columns, places: columns.scales[places])
        codes = gathered(file, rows, lambda columns, places: columns.codes[places])
        candidates = _Candidates(query, limit)
        candidates.add(rows, _highest(query, codes, steps), steps)
        rows = _bounded(file, candidates, limit)
    return _ranked(file, vector[None], rows, limit)


def _scan(query: _Query, parts: Sequence[Part], labels: NDArray[np.uint32], candidates: _Candidates) -> _Candidates:
    for part in parts:
        _compare(query, part, labels, candidates)
    return candidates


def _compare(query: _Query, part: Part, labels: NDArray[np.uint32], candidates: _Candidates) -> None:
    chunk, rows = part
    # Only these columns are sliced, because slicing all of them takes as long as comparing 500 rows.
    codes, steps = chunk.columns.codes[rows], chunk.columns.scales[rows]
    allowed = _allowed(chunk.columns.labels[rows], labels)
    count = int(np.count_nonzero(allowed))
    if not count:
        return
    places = np.flatnonzero(allowed) if count * _SPARSE < len(allowed) else None
    if places is not None:
        codes, steps = codes[places], steps[places]
    highest = _highest(query, codes, steps)
    good = highest >= candidates.floor
    if places is None and count < len(allowed):
        good &= allowed
    found = good.nonzero()[0]
    if len(found):
        numbers = found if places is None else places[found]
        candidates.add(numbers + (chunk.first + rows.start), highest[found], steps[found])


def _highest(query: _Query, codes: NDArray[np.int8], steps: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the highest possible similarity of each row."""
    highest = products(query.codes, codes)
    highest *= query.step
    highest += query.slack
    highest *= steps
    return highest


def _allowed(row_labels: NDArray[np.uint32], labels: NDArray[np.uint32]) -> NDArray[np.bool_]:
    if len(labels) <= 4:
        allowed: NDArray[np.bool_] = row_labels == labels[0]
        for label in labels[1:]:
            allowed |= row_labels == label
        return allowed
    table = np.zeros(int(labels.max()) + 2, np.bool_)
    table[labels] = True
    return table.take(row_labels, mode="clip")  # larger labels are clipped to the last entry, which is False


def _bounded(file: PointsFile, candidates: _Candidates, limit: int) -> Rows:
    """Return the candidates to compare again, in ascending order, up to a maximum.

    If candidates at the cutoff are equally similar, those with the lowest ids are kept.
    """
    most = max(MAX_CANDIDATES, 4 * limit)
    rows, highest = candidates.rows, candidates.highest
    if len(rows) <= most:
        return rows
    last = np.partition(highest, len(highest) - most)[len(highest) - most]
    above, equal = rows[highest > last], rows[highest == last]
    ids = gathered(file, equal, lambda columns, places: columns.ids[places])
    order = np.lexsort((ids[:, 1], ids[:, 0]))
    return np.sort(np.concatenate((above, equal[order[: most - len(above)]])))


def _ranked(file: PointsFile, query: Vector, rows: Rows, limit: int) -> tuple[NDArray[np.uint64], NDArray[np.float64]]:
    """Compare these rows with the query, and return the ids and similarities of the nearest ones, best first.

    Leaves out rows that have died in the meantime, because their vectors may already have been overwritten.

    query: a vector of shape (1, dimension).
    rows: row numbers in ascending order.
    """
    if not len(rows):
        return np.empty((0, 2), np.uint64), np.empty(0)
    parts = located(file, rows)
    exact = np.concatenate([products(query, columns.vectors[places]) for columns, places in parts])
    live = np.concatenate([columns.labels[places] for columns, places in parts]) != 0
    if not live.all():
        return _ranked(file, query, rows[live], limit)
    # Similarities are rounded to six digits, the precision of float32, so that rounding errors do not affect the order.
    similarities = np.asarray(np.round(np.clip(exact, -1.0, 1.0, dtype=np.float64), 6), np.float64)
    ids = np.concatenate([columns.ids[places] for columns, places in parts])
    order = np.lexsort((ids[:, 1], ids[:, 0], -similarities))
    order = order[_is_last(ids)[order]][:limit]
    return ids[order], similarities[order]


def _is_last(ids: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Return, for each row, whether it is the last one with its id. The others were replaced during the search."""
    by_id = np.lexsort((ids[:, 1], ids[:, 0]))  # a stable sort, so rows with the same id keep their order
    last = np.ones(len(ids), np.bool_)
    last[by_id[:-1]] = (ids[by_id[1:]] != ids[by_id[:-1]]).any(axis=1)
    return last
