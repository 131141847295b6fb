"""Days, weeks and months: every day in one week, every week in one month."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import settings as bounded
from hypothesis import strategies as st

from conversations.enrichment import periods
from conversations.enrichment.periods import DAILY, MONTHLY, WEEKLY, Period

DAYS = st.dates(date(1970, 1, 1), date(2200, 1, 1))


@pytest.mark.parametrize(
    ("level", "day", "name", "numbers"),
    [
        (DAILY, date(2026, 11, 20), "2026-11-20", (1, 20261120)),
        (WEEKLY, date(2026, 11, 20), "2026-W47", (2, 202647)),
        (MONTHLY, date(2026, 11, 20), "2026-11", (3, 202611)),
        (WEEKLY, date(2027, 1, 3), "2026-W53", (2, 202653)),
        (MONTHLY, date(2026, 10, 1), "2026-10", (3, 202610)),
        (MONTHLY, date(2026, 11, 1), "2026-10", (3, 202610)),  # a Sunday: its week's Thursday is in October
    ],
)
def test_a_period_has_a_name_and_numbers(level: str, day: date, name: str, numbers: tuple[int, int]) -> None:
    period = periods.of(level, day)

    assert (period.name, period.numbers) == (name, numbers)


@bounded(deadline=None)
@given(DAYS, st.sampled_from(periods.LEVELS))
def test_a_day_is_in_its_period_and_the_first_day_begins_it(day: date, level: str) -> None:
    period = periods.of(level, day)

    assert period.first <= day < period.end
    assert periods.of(level, period.first) == period
    assert periods.of(level, period.end) != period
    assert periods.of(level, period.end - timedelta(days=1)) == period


@bounded(deadline=None)
@given(st.sets(DAYS, max_size=40))
def test_months_hold_their_days_once(days: set[date]) -> None:
    for month in {periods.of(MONTHLY, day) for day in days}:
        weeks = periods.parts(month, days)
        within = {day for day in days if month.first <= day < month.end}
        assert [part for week in weeks for part in periods.parts(week, days)] == [
            Period(DAILY, day) for day in sorted(within)
        ]


def test_a_period_is_over_at_midnight_utc() -> None:
    day = periods.of(DAILY, date(2026, 11, 20))

    assert not day.is_over(datetime(2026, 11, 20, 23, 59, tzinfo=UTC))
    assert day.is_over(datetime(2026, 11, 21, tzinfo=UTC))


def test_the_next_end_is_that_of_the_day_then_the_week_then_the_month() -> None:
    day = date(2026, 11, 18)  # a Wednesday
    ends = []
    now = datetime(2026, 11, 18, 12, tzinfo=UTC)
    while (end := periods.next_end(day, now)) is not None:
        ends.append(end.date())
        now = end

    assert ends == [date(2026, 11, 19), date(2026, 11, 23), date(2026, 11, 30)]
