"""RFC 3339 times: the only formatter and the only parser."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime

# RFC 3339, section 5.6, with at most six fractional digits. That section allows a space instead of the T.
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,6})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


class MalformedTime(ValueError):
    def __str__(self) -> str:
        return "must be an RFC 3339 time with a UTC offset and at most six decimal places, such as 2026-01-31T12:00:00Z"


class NoSuchTime(ValueError):
    def __str__(self) -> str:
        return "must be a valid date and time, with a year from 0002 to 9998 in UTC"


def rfc3339(moment: datetime) -> str:
    """Format an aware time in UTC: `2026-01-31T12:00:00Z`, with microseconds unless they are zero."""
    in_utc = moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    return in_utc.isoformat().removesuffix("+00:00") + "Z"


def rfc3339_or_none(moment: datetime | None) -> str | None:
    return None if moment is None else rfc3339(moment)


def fixed_width(moment: datetime) -> str:
    """Format an aware time in UTC for hashing, always with microseconds and `+00:00`."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def is_convertible(moment: date) -> bool:
    """Return whether a date or time can be converted to any time zone without overflow."""
    return 1 < moment.year < 9999


def parse(text: str) -> datetime:
    """Parse an RFC 3339 time and return it as an aware time in UTC.

    Raises MalformedTime if the text has another format, and NoSuchTime if there is no such date or time.
    """
    if not _RFC3339.fullmatch(text):
        raise MalformedTime
    try:
        return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise NoSuchTime from None


def parse_or_none(value: object) -> datetime | None:
    """Return the time, or None if the value is not a valid time."""
    try:
        return parse(value) if isinstance(value, str) else None
    except (MalformedTime, NoSuchTime):
        return None
