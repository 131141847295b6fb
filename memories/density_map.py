"""Show how memories are distributed over coordinates, as counts per cell or per coordinate prefix.

Where there are only a few memories, they are also returned individually. The counts are always complete. Cell edges are
compared with the digits of coordinate keys, so no coordinate has to be decoded (see `coordinates`).
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
from django.db.models import Avg, Count, Func, IntegerField, Max, Min, Q, QuerySet, Value
from django.db.models.functions import Length, Substr
from django.db.models.lookups import GreaterThan, GreaterThanOrEqual, LessThanOrEqual

from memories import coordinates, payloads, selectors
from memories.coordinates import DIGITS_PER_NUMBER, MAX_DIMENSIONS, Coordinate
from memories.models import Memory
from memories.selectors import Narrowing
from somamemory import cursors
from somamemory.db import replicas
from somamemory.db.replicas import may_read_replica
from somamemory.errors import InvalidInput, RowBudgetExceeded
from tenants.caller import Caller

# If a region contains at most this many memories, they are also returned individually.
SINGLE = 300
TEXT_LENGTH = 200
_CHUNK = 5_000
# With SQLite, if a region has more memories than this, all memories in the namespace are read.
FEW = 20_000
# The maximum number of memories that one map can count. With SQLite, they are counted in this process, which takes 60
# bytes per memory.
MAX_COUNTED = 2_000_000


@dataclass(frozen=True)
class Cell:
    """A cell, with the number of memories in it and their mean and maximum importance."""

    count: int
    importance: float
    max_importance: float
    column: int = 0
    row: int = 0
    place: Coordinate | None = None


@dataclass(frozen=True)
class Grid:
    """A region of one or two axes, divided into `resolution` cells along each axis."""

    axes: Sequence[int]
    low: Sequence[float]
    high: Sequence[float]
    resolution: int
    cells: Sequence[Cell] = ()
    total: int = 0  # the number of memories in the region
    elsewhere: int | None = None  # the number of memories that have no number on one of the axes; None if not counted
    memories: Sequence[Memory] | None = None  # the memories in the region; None if there are more than SINGLE


@dataclass(frozen=True)
class Places:
    """A page of the coordinate prefixes below another prefix, each with its counts, ordered by address."""

    cells: Sequence[Cell] = field(default_factory=list)
    next_cursor: str | None = None


@may_read_replica
def grid(
    caller: Caller,
    namespace: str,
    narrowing: Narrowing,
    axes: Sequence[int],
    *,
    region: Region | None = None,
    resolution: int = 48,
) -> Grid:
    """Count the caller's live memories in each cell of a region.

    axes: one or two positions (from 0) in a coordinate.
    region: the lower and upper corners, with one number per axis. The default is the smallest region that contains all
      of the memories.
    """
    memories = narrowing.apply(selectors.live(caller, [namespace])).order_by()
    elsewhere = None
    measure = _measured_here if replicas.connection().vendor == "sqlite" else _measured_there
    if region is None:
        region, elsewhere, count = measure(memories, axes, None)
        if region is None:
            return Grid(axes, [], [], resolution, elsewhere=elsewhere, memories=[])
    else:
        count = measure(memories, axes, region)[2]
    low, high = region
    cells = count([_edges(low[at], high[at], resolution) for at in range(len(axes))])
    total = sum(cell.count for cell in cells)
    if total + (elsewhere or 0) > MAX_COUNTED:
        raise _too_many()
    single = None
    if total <= SINGLE:
        single = list(_inside(memories, axes, low, high).order_by("coordinate_key")[:SINGLE])
    return Grid(axes, list(low), list(high), resolution, cells, total, elsewhere, single)


@may_read_replica
def places(
    caller: Caller,
    namespace: str,
    narrowing: Narrowing,
    depth: int = 1,
    *,
    limit: int = 50,
    cursor: str | None = None,
) -> Places:
    """Return the prefixes that are `depth` numbers longer than `narrowing.prefix`, with counts for their subtrees."""
    above = len(narrowing.prefix.numbers) if narrowing.prefix else 0
    if above + depth > MAX_DIMENSIONS:
        raise InvalidInput("depth", f"a coordinate must have at most {MAX_DIMENSIONS} numbers")
    digits = DIGITS_PER_NUMBER * (above + depth)
    memories = narrowing.apply(selectors.live(caller, [namespace]))
    memories = memories.filter(GreaterThanOrEqual(Length("coordinate_key"), Value(digits)))
    place = Substr("coordinate_key", 1, digits)
    if cursor:
        memories = memories.filter(GreaterThan(place, Value(_last(cursor, digits))))
    rows: Any = list(memories.values(place=place).annotate(**_SUMS).order_by("place")[: limit + 1])
    cells = [
        Cell(row["count"], row["mean"], row["most"], place=coordinates.from_key(row["place"])) for row in rows[:limit]
    ]
    return Places(cells, cursors.encode(rows[limit - 1]["place"]) if len(rows) > limit else None)


def _too_many() -> RowBudgetExceeded:
    return RowBudgetExceeded(f"a map can count at most {MAX_COUNTED} memories; use a prefix, memory_type or box")


def excerpt(memory: Memory) -> str:
    """Return the beginning of the memory's text, for use as a label."""
    words = " ".join(payloads.text_of(memory.payload).split())
    return words if len(words) <= TEXT_LENGTH else words[: TEXT_LENGTH - 1] + "…"


# The lower and upper corners of a region.
Region = tuple[Sequence[float], Sequence[float]]
Rows = QuerySet[Memory, tuple[str, float]]
_Columns = tuple[bytearray, "array[float]", int]
# A region, the number of memories elsewhere (see `Grid`), and a function that counts memories per cell, given the edges
# of the cells.
Measured = tuple[Region | None, int | None, Callable[[Sequence[Sequence[str]]], list[Cell]]]


def _measured_here(memories: QuerySet[Memory], axes: Sequence[int], region: Region | None) -> Measured:
    """Measure the region and prepare to count in Python, for SQLite.

    SQLite runs in this process anyway, and reading all digits once is four times as fast as counting in SQL.
    """
    first, span = min(axes), max(axes) - min(axes) + 1
    length = span * DIGITS_PER_NUMBER
    words = Substr("coordinate_key", first * DIGITS_PER_NUMBER + 1, length)
    digits, importances, elsewhere = _read(memories.values_list(words, "importance"), length, axes, region)
    # Digits sort like the integers they represent.
    numbers = np.frombuffer(digits, dtype=">u8").reshape(-1, span).astype(np.uint64)
    numbers = numbers[:, [axis - first for axis in axes]]
    weights = np.frombuffer(importances, dtype=np.float64)
    if region is not None:
        corners = [
            np.array([int(coordinates.encode([edge]), 16) for edge in corner], dtype=np.uint64) for corner in region
        ]
        within = ((numbers >= corners[0]) & (numbers <= corners[1])).all(axis=1)
        numbers, weights = numbers[within], weights[within]

    def count(edges: Sequence[Sequence[str]]) -> list[Cell]:
        parts = len(edges[0])
        cell = np.zeros(len(numbers), dtype=np.int64)
        for axis, axis_edges in enumerate(edges):
            limits = np.array([int(edge, 16) for edge in axis_edges], dtype=np.uint64)
            cell = cell * parts + np.searchsorted(limits, numbers[:, axis], side="right") - 1
        size = parts ** len(edges)
        counts = np.bincount(cell, minlength=size)
        sums = np.bincount(cell, weights, minlength=size)
        most = np.full(size, -np.inf)
        np.maximum.at(most, cell, weights)
        cells = []
        for at in np.flatnonzero(counts):
            column, row = divmod(int(at), parts) if len(edges) > 1 else (int(at), 0)
            cells.append(Cell(int(counts[at]), float(sums[at] / counts[at]), float(most[at]), column, row))
        return cells

    if not len(numbers):
        return None, elsewhere, count
    least, most = ([f"{word:016x}" for word in corner] for corner in (numbers.min(axis=0), numbers.max(axis=0)))
    low, high = (coordinates.decode("".join(corner)) for corner in (least, most))
    return (low, high), elsewhere, count


def _read(everything: Rows, length: int, axes: Sequence[int], region: Region | None) -> _Columns:
    """Return the digits and importance of each memory in a region, and possibly of some outside it.

    With conditions on the keys, SQLite reads the memories in key order. For more than a few memories, that
    takes three times as long as reading all memories in storage order and comparing the digits in Python.
    """
    if region is None:
        return _columns(everything.iterator(chunk_size=_CHUNK), length)
    inside = _inside(everything, axes, *region)
    near = list(inside[: FEW + 1])
    if len(near) <= FEW:
        return _columns(iter(near), length)
    try:
        return _columns(everything.iterator(chunk_size=_CHUNK), length)
    except RowBudgetExceeded:  # the namespace has too many memories, but the region alone may be small enough
        return _columns(inside.iterator(chunk_size=_CHUNK), length)


def _columns(rows: Iterator[tuple[str, float]], length: int) -> _Columns:
    """Return the digits and importances of the memories with exactly `length` digits, and a count of the rest.

    rows: for each memory, its position on the axes as hex digits, and its importance.
    """
    digits, importances, elsewhere = bytearray(), array("d"), 0
    while part := list(islice(rows, _CHUNK)):
        words, values = [row[0] for row in part], [row[1] for row in part]
        together = "".join(words)
        if len(together) < length * len(words):  # some memories have no number on one of the axes
            complete = [at for at, word in enumerate(words) if len(word) == length]
            together, values = "".join(words[at] for at in complete), [values[at] for at in complete]
        digits += bytes.fromhex(together)
        importances.extend(values)
        elsewhere += len(words) - len(values)
        if len(importances) + elsewhere > MAX_COUNTED:
            raise _too_many()
    return digits, importances, elsewhere


def _measured_there(memories: QuerySet[Memory], axes: Sequence[int], region: Region | None) -> Measured:
    """Measure the region and prepare to count in PostgreSQL, which returns only the cells."""
    has = Q(GreaterThanOrEqual(Length("coordinate_key"), Value(DIGITS_PER_NUMBER * (max(axes) + 1))))

    def count(edges: Sequence[Sequence[str]]) -> list[Cell]:
        names = ["column", "row"][: len(axes)]
        cells = {name: _Cell(_digits(axis), limits) for name, axis, limits in zip(names, axes, edges, strict=True)}
        rows: Any = memories.filter(has).values(**cells).annotate(**_SUMS).order_by(*names)
        return [Cell(row["count"], row["mean"], row["most"], row["column"] - 1, row.get("row", 1) - 1) for row in rows]

    if region is not None:
        memories = _inside(memories, axes, *region)
        return None, None, count
    sums: dict[str, Any] = {"all": Count("seq"), "on": Count("seq", filter=has)}
    for axis in axes:
        sums |= {f"low{axis}": Min(_digits(axis), filter=has), f"high{axis}": Max(_digits(axis), filter=has)}
    totals = memories.aggregate(**sums)
    elsewhere = totals["all"] - totals["on"]
    if not totals["on"]:
        return None, elsewhere, count
    low = [coordinates.decode(totals[f"low{axis}"])[0] for axis in axes]
    high = [coordinates.decode(totals[f"high{axis}"])[0] for axis in axes]
    return (low, high), elsewhere, count


_SUMS: dict[str, Any] = {"count": Count("seq"), "mean": Avg("importance"), "most": Max("importance")}


class _Cell(Func):
    """The number of cell edges that are less than or equal to the given digits."""

    output_field = IntegerField()

    def __init__(self, digits: Any, edges: Sequence[str] = (), **extra: Any) -> None:
        self.edges = list(edges)
        super().__init__(digits, **extra)

    def as_sql(self, compiler: Any, connection: Any, **more: Any) -> Any:  # type: ignore[override]
        sql, parameters = compiler.compile(self.source_expressions[0])
        return f"width_bucket({sql}, %s::text[])", [*parameters, self.edges]


def _digits(axis: int) -> Substr:
    return Substr("coordinate_key", axis * DIGITS_PER_NUMBER + 1, DIGITS_PER_NUMBER)


def _edges(low: float, high: float, parts: int) -> list[str]:
    """Return the lower edge of each cell as digits, in ascending order.

    Avoids `high - low`, which could overflow.
    """
    between = (low * (1 - part / parts) + high * (part / parts) for part in range(parts))
    return [coordinates.encode([edge]) for edge in sorted(min(high, max(low, edge)) for edge in between)]


def _inside(
    memories: QuerySet[Memory, Any], axes: Sequence[int], low: Sequence[float], high: Sequence[float]
) -> QuerySet[Memory, Any]:
    conditions: list[Any] = [
        GreaterThanOrEqual(Length("coordinate_key"), Value(DIGITS_PER_NUMBER * (max(axes) + 1))),
    ]
    for axis, least, most in zip(axes, low, high, strict=True):
        first, last = coordinates.encode([least]), coordinates.encode([most])
        if axis == 0:  # the digits are the beginning of the key, so the index can be used
            conditions.append(Q(coordinate_key__gte=first, coordinate_key__lt=last + "g"))
        else:
            conditions += [
                GreaterThanOrEqual(_digits(axis), Value(first)),
                LessThanOrEqual(_digits(axis), Value(last)),
            ]
    return memories.filter(*conditions)


def _last(cursor: str, digits: int) -> str:
    (key,) = cursors.decode(cursor, str)
    if len(key) != digits or not set(key) <= set("0123456789abcdef"):
        raise cursors.invalid()
    return str(key)
