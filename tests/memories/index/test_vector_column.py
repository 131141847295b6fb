"""Vectors that are read from a file behave like an array."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from memories.index.local.vector_column import OpenFile, VectorColumn

ROWS, DIMENSION, START = 9, 4, 100


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "vectors"
    path.write_bytes(bytes(START + ROWS * DIMENSION * 4))
    return path


@pytest.fixture
def column(path: Path) -> VectorColumn:
    return VectorColumn(OpenFile(path, os.O_RDWR, 0o600), START, ROWS, DIMENSION)


def numbers(rows: int) -> np.ndarray:
    return np.arange(1, 1 + rows * DIMENSION, dtype=np.float32).reshape(rows, DIMENSION)


def test_it_reads_what_was_written(column: VectorColumn, path: Path) -> None:
    expected = np.zeros((ROWS, DIMENSION), np.float32)
    for rows, values in ((slice(2, 5), numbers(3)), (slice(8, 9), numbers(1)), (3, 0)):
        column[rows] = values
        expected[rows] = values

    assert np.array_equal(column, expected)
    assert np.array_equal(column[np.array([8, 2, 4, 2])], expected[[8, 2, 4, 2]])
    assert np.array_equal(column[4], expected[4])
    assert path.read_bytes()[:START] == bytes(START)
    assert path.stat().st_size == START + expected.nbytes


def test_a_slice_is_a_column(column: VectorColumn) -> None:
    column[0:ROWS] = numbers(ROWS)
    part = column[2:7]
    part[1:2] = 0

    assert len(part) == 5
    assert np.array_equal(part[1:3], np.asarray(column)[3:5])
    assert np.array_equal(part[np.array([1, 4])], np.asarray(column)[[3, 6]])
    assert len(column[7:3]) == len(np.asarray(column[7:3])) == 0


def test_no_rows_are_an_empty_array(column: VectorColumn) -> None:
    assert column[np.array([], np.intp)].shape == (0, DIMENSION)


def test_a_file_that_is_too_short_raises_an_error(column: VectorColumn, path: Path) -> None:
    os.truncate(path, START + 8)

    with pytest.raises(OSError, match="too short"):
        np.asarray(column)


def test_the_file_stays_open_while_a_slice_is_used(path: Path) -> None:
    part = VectorColumn(OpenFile(path, os.O_RDWR, 0o600), START, ROWS, DIMENSION)[1:2]
    part[0:1] = 1

    assert np.array_equal(part, np.ones((1, DIMENSION), np.float32))
