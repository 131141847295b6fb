"""Summary periods: days, weeks and months in UTC. Pure functions.

Weeks follow ISO 8601: a week begins on Monday and belongs entirely to the month that contains its Thursday. Every day
is therefore in exactly one week and every week in exactly one month, and nothing is summarised twice.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

DAILY, WEEKLY, MONTHLY = "daily", "weekly", "monthly"
LEVELS = (DAILY, WEEKLY, MONTHLY)


@dataclass(frozen=True, order=True)
class Period:
    """A day, week or month. `first` is its first day."""

    level: str
    first: date

    @property
    def name(self) -> str:
        """Return the period's name: `2026-11-20`, `2026-W47` or `2026-11`."""
        if self.level == DAILY:
            return self.first.isoformat()
        if self.level == WEEKLY:
            year, week, _ = self.first.isocalendar()
            return f"{year}-W{week:02}"
        month = _thursday(self.first)
        return f"{month.year}-{month.month:02}"

    @property
    def numbers(self) -> tuple[int, int]:
        """Return the last two numbers of a summary's coordinate: (1, 20261120), (2, 202647) or (3, 202611)."""
        return LEVELS.index(self.level) + 1, int(self.name.replace("-", "").replace("W", ""))

    @property
    def end(self) -> date:
        """Return the first day after the period."""
        if self.level == DAILY:
            return self.first + timedelta(days=1)
        if self.level == WEEKLY:
            return self.first + timedelta(days=7)
        # 28 days later is either the last week of the same month or the first week of the next.
        later = self.first + timedelta(days=28)
        return later if of(MONTHLY, later).first == later else later + timedelta(days=7)

    def is_over(self, now: datetime) -> bool:
        return now >= midnight(self.end)


def of(level: str, day: date) -> Period:
    """Return the period that contains a day."""
    if level == DAILY:
        return Period(DAILY, day)
    monday = day - timedelta(days=day.weekday())
    if level == WEEKLY:
        return Period(WEEKLY, monday)
    first = _thursday(monday).replace(day=1)
    # The first Thursday of the month is in its first week.
    thursday = first + timedelta(days=(3 - first.weekday()) % 7)
    return Period(MONTHLY, thursday - timedelta(days=3))


def parts(period: Period, days: Iterable[date]) -> list[Period]:
    """Return the parts of a period (its days or its weeks) that contain any of the given days, in order."""
    below = LEVELS[LEVELS.index(period.level) - 1]
    return sorted({of(below, day) for day in days if period.first <= day < period.end})


def next_end(day: date, now: datetime) -> datetime | None:
    """Return when the first unfinished period that contains a day will end, or None if all of them have ended."""
    ends = [midnight(of(level, day).end) for level in LEVELS]
    return min((end for end in ends if end > now), default=None)


def midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _thursday(monday: date) -> date:
    return monday + timedelta(days=3)
