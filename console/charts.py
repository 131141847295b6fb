"""Compute chart coordinates for a 100 by 100 SVG. This module is pure: it does no I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Bar:
    """A column of a column chart. Its parts, from the bottom up, are `(kind, y, height)`."""

    x: float
    width: float
    parts: list[tuple[str, float, float]]
    title: str


@dataclass(frozen=True)
class Columns:
    bars: list[Bar]
    most: int  # the value at the top of the chart


def columns(stacks: Sequence[tuple[str, dict[str, int]]]) -> Columns:
    """Return stacked columns, from left to right, for `(title, {kind: number})`."""
    most = rounded_up(max((sum(parts.values()) for _, parts in stacks), default=0))
    width = 100 / max(1, len(stacks))
    bars = []
    for at, (title, parts) in enumerate(stacks):
        top, drawn = 100.0, []
        for kind, number in parts.items():
            height = 100 * number / most
            top -= height
            if number:
                drawn.append((kind, round(top, 2), round(height, 2)))
        bars.append(Bar(round(at * width, 3), round(width * 0.82, 3), drawn, title))
    return Columns(bars, most)


def lines(values: Sequence[float | None]) -> tuple[list[str], float]:
    """Return polylines through the values from left to right, and the value at the top of the chart.

    A value of None leaves a gap.
    """
    most = float(rounded_up(max((value for value in values if value is not None), default=0)))
    step = 100 / max(1, len(values))
    segments: list[list[str]] = [[]]
    for at, value in enumerate(values):
        if value is None:
            segments.append([])
        else:
            segments[-1].append(f"{(at + 0.5) * step:.2f},{100 - 100 * value / most:.2f}")
    return [" ".join(points if len(points) > 1 else _dash(points[0], step)) for points in segments if points], most


def _dash(point: str, width: float) -> list[str]:
    """Return two points for a single value, because a line needs two to be visible."""
    x, y = point.split(",")
    return [f"{float(x) - width / 2:.2f},{y}", f"{float(x) + width / 2:.2f},{y}"]


def rounded_up(number: float) -> int:
    """Round up to 1, 2 or 5 times a power of ten, and to at least 1."""
    power = 1
    while True:
        for step in (1, 2, 5):
            if number <= step * power:
                return step * power
        power *= 10
