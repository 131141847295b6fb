"""Encode vectors as 8-bit codes, compute dot products, and compute the checksums of rows."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import simsimd
from numpy.typing import NDArray

from memories.index.base import Vector
from memories.index.local.layout import Columns

STEPS = 127
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # odd, so that no bit of a row is lost
_AT_ONCE = 4096  # the number of rows processed at a time, so that temporary arrays stay small


def encode(vectors: Vector) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return the codes of vectors, of shape (rows, dimension), and the step of each row.

    A row's step is its largest absolute value divided by 127. If the codes are used to compute a dot product with
    another vector, the standard deviation of the error is the step times the length of the other vector, divided by the
    square root of 12.
    """
    steps = (np.abs(vectors).max(axis=1) / np.float32(STEPS)).astype(np.float32, copy=False)
    return np.rint(vectors / steps[:, None]).astype(np.int8), steps


def products(query: NDArray[Any], rows: NDArray[Any]) -> NDArray[np.float32]:
    """Return the dot product of the query, of shape (1, dimension), with each row. Does not block other threads.

    The result for a row does not depend on its position, so equal vectors are equally similar.
    """
    return np.asarray(simsimd.cdist(query, rows, "dot", out_dtype="float32")).reshape(-1)


def checksums(rows: Columns) -> NDArray[np.uint64]:
    """Return the checksum of each row: the sum of its words, each multiplied by a different odd number, plus 1."""
    if len(rows) <= _AT_ONCE:
        return _checksums(rows)
    found = np.empty(len(rows), np.uint64)
    for start in range(0, len(rows), _AT_ONCE):
        found[start : start + _AT_ONCE] = _checksums(rows[start : start + _AT_ONCE])
    return found


def _checksums(rows: Columns) -> NDArray[np.uint64]:
    words = (
        np.asarray(rows.vectors).view(np.uint32),
        rows.codes.view(np.uint8),
        rows.scales.view(np.uint32)[:, None],
        rows.ids,
        rows.versions.view(np.uint64)[:, None],
    )
    total, first = np.ones(len(rows), np.uint64), 1  # begin with 1, so that a row of zeros is not valid
    for part in words:
        total += part.astype(np.uint64) @ _odd_numbers(first, part.shape[1])
        first += part.shape[1]
    return total


@cache
def _odd_numbers(first: int, count: int) -> NDArray[np.uint64]:
    return np.arange(first, first + count, dtype=np.uint64) * _MULTIPLIER | np.uint64(1)
