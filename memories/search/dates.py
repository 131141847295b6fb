"""Find dates in texts and queries, and write them as terms.

A memory's `terms` column contains the date of the memory, and dates in its text, as additional terms: year, year and
month, month, and month and day. For example, 4 July 2023 is written as `¶2023 ¶202307 ¶07 ¶0704`. The dates in a query
are written in the same way, so BM25 weighs them like any other terms: a day on which few memories were stored counts
more than a day with many. Words never contain `¶`, so they never match these terms.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import chain, islice
from typing import NamedTuple

SIGN = "¶"
MAX_MENTIONS = 3  # the number of dates in a text or a query that are considered
MAX_SEARCHED = 4_096  # the number of characters of a text in which dates are searched
MAX_FIELD = 100  # characters; a longer string is not a date

MONTHS = (
    "january", "february", "march", "april", "may", "june",
    "july", "august", "september", "october", "november", "december",
)  # fmt: skip
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_NUMBERS = {name[:3]: number for number, name in enumerate(MONTHS, 1)}
_MONTH = rf"(?:{'|'.join(MONTHS)}|sept|{'|'.join(_NUMBERS)})\b\.?"
_DAY = r"\d{1,2}(?:st|nd|rd|th)?\b"
_TO_DAY = rf"(?:[-\N{{EN DASH}}]{_DAY})?"  # the end of a range such as "July 4-6", of which only the beginning counts
_YEAR = r"(?:19|20)\d\d"


def _after(words: str) -> str:
    """Return a pattern that matches only after one of the words and a space or hyphen, which it does not consume."""
    return "(?:" + "|".join(rf"(?<=\b{word}[ -])" for word in words.split()) + ")"


# Some names of months are also first names, verbs or nouns. They need a day, a year or one of these words before them.
_AMBIGUOUS = ("March", "April", "May", "June", "August")
_CLEAR = "|".join(name.title() for name in MONTHS if name.title() not in _AMBIGUOUS)
_CUE = _after("in on of by since until till before after during from through between last next early mid late the this")
# Even then, they may not state a date.
_NAME_OR_VERB = re.compile(
    rf"""
    (?:{"|".join(_AMBIGUOUS)}) [ ] [A-Z][a-z]  # "by June Carter"
    | {_after("the this")} (?:may|march) \b (?![ -]\d)  # "the march", "what this may cause"
    | (?!{_CUE}) \d{{1,2}}(?:st|nd|rd|th)? [ ] (?:may|march) [ ] [a-z]  # "10 may be enough"
    | (?!{_CUE}) (?<=\w[ ]) (?<!day[ ]) (?:may|march) [ ] \d{{1,2}} [ ] [a-z]  # "I march 10 miles"
    """,
    re.ASCII | re.VERBOSE,
)
_NUMBERED = _after("page chapter room number version covid")

# The digit at the end of a group's name only makes the name unique.
_DATE = re.compile(
    rf"""
    (?<![\w.]) (?<!\d:) (?=[0-9JFMASOND]) (?!{_NUMBERED}) (?:
    (?P<year1>{_YEAR}) (?P<sign>[-/.]) (?P<month1>\d{{1,2}}) (?P=sign) (?P<day1>\d{{1,2}})
    | (?P<day2>\d{{1,2}}) \. (?P<month2>\d{{1,2}}) \. (?P<year2>{_YEAR})
    | (?P<month3>\d{{1,2}}) / (?P<day3>\d{{1,2}}) / (?P<year3>{_YEAR}) \b
    | (?P<day4>{_DAY}) {_TO_DAY} [ -] (?:of[ ])? (?P<month4>{_MONTH}) (?: [ ,-]{{1,2}} (?P<year4>{_YEAR}) \b )?
    | (?P<month5>{_MONTH}) [ -] (?:the[ ])? (?P<day5>{_DAY}) {_TO_DAY} (?: [ ,-]{{1,2}} (?P<year5>{_YEAR}) \b )?
    | (?P<month6>{_MONTH}) (?: [ ,-]{{1,2}} | [ ]of[ ] ) (?P<year6>{_YEAR}) \b
    | (?P<month7>(?-i:{_CLEAR}) | {_CUE} (?<!\bon[ ]) (?:{"|".join(MONTHS)})) \b
    | (?P<month8>0?[1-9]|1[0-2]) / (?P<year8>{_YEAR}) \b
    | (?P<year9>{_YEAR}) - (?P<month9>0[1-9]|1[0-2]) (?![\w-])
    | (?<!-) (?P<year0>{_YEAR}) (?![\w-])
    ) (?! \.?\d )
    """,
    re.ASCII | re.IGNORECASE | re.VERBOSE,
)
_TIMESTAMP = re.compile(r"\d{9,13}(?:\.\d*)?", re.ASCII)
_RELATIVE = re.compile(
    rf"""
    \b (?! (?<=\w[ ])(?-i:Today|Yesterday) )  # not "USA Today"
    (?: (?P<today>today) | yesterday | (?P<ago>\d{{1,3}}) [ ] days? [ ] ago
    | (?P<which>this|last) [ ] (?P<period>month|year)
    | (?:on|last) [ ] (?P<weekday>{"|".join(WEEKDAYS)}) (?! ,?[ ](?:the[ ])? {_DATE.pattern})  # not "on Monday, 4 July"
    ) \b
    """,
    re.ASCII | re.IGNORECASE | re.VERBOSE,
)


class Mention(NamedTuple):
    """A date, of which the year, the month or the day may be missing.

    text: the text that states the date.
    relative: whether this text consists of words for the present or the past, such as "yesterday".
    """

    year: int | None = None
    month: int | None = None
    day: int | None = None
    text: str = ""
    relative: bool = False

    @property
    def possible(self) -> bool:
        """Return whether there is such a date."""
        try:
            date(self.year or 2000, self.month or 1, self.day or 1)  # 2000 has a 29 February
        except ValueError:
            return False
        return True


class InQuery(NamedTuple):
    """A date in a query.

    text: the text that states the date.
    relative: see `Mention.relative`.
    period: the term of the month or, if the query states no month, of the year.
    day: the term of the day, and `next_day` that of the day after it, if the query states a day.
    """

    text: str
    relative: bool
    period: str
    day: str = ""
    next_day: str = ""

    @property
    def terms(self) -> list[str]:
        return [term for term in (self.period, self.day, self.next_day) if term]


def of_memory(stored: date, fields: Iterable[object] = ()) -> list[str]:
    """Return the terms of a memory's date: of the first field that contains a date with a year, otherwise of `stored`.

    fields: dates as strings, or the seconds or milliseconds since 1970 as numbers or strings. Other fields are ignored.
    """
    return list(_terms(*next(filter(None, map(_in_field, fields)), (stored.year, stored.month, stored.day))))


def of_text(text: str) -> list[str]:
    """Return the terms of the dates in a text."""
    return [term for found in islice(_absolute(text[:MAX_SEARCHED]), MAX_MENTIONS) for term in _terms(*found[:3])]


def of_query(text: str, today: date) -> list[InQuery]:
    """Return the dates in a query.

    The day after a stated day counts as well: people often talk about something on the day after it, and the day may
    have begun earlier in UTC than in the caller's time zone.
    """
    searched = text[:MAX_SEARCHED]
    mentions = islice(chain(_relative(searched, today), _absolute(searched)), MAX_MENTIONS)
    return [_in_query(mention) for mention in mentions]


def stated(text: str) -> list[str]:
    """Return the parts of a query that state a date, apart from words such as "yesterday"."""
    any_day = date(2000, 1, 1)
    return [found.text for found in of_query(text, any_day) if not found.relative]


def is_date(term: str) -> bool:
    return term.startswith(SIGN)


@lru_cache(maxsize=1_000)
def _terms(year: int | None, month: int | None, day: int | None) -> tuple[str, ...]:
    terms = [f"{SIGN}{year}"] if year else []
    if month:
        terms += [f"{SIGN}{year}{month:02}"] if year else []
        terms.append(f"{SIGN}{month:02}")
        terms += [f"{SIGN}{month:02}{day:02}"] if day else []
    return tuple(terms)


def _in_query(mention: Mention) -> InQuery:
    year, month, day, text, relative = mention
    if not month:
        return InQuery(text, relative, f"{SIGN}{year}")
    period = f"{SIGN}{year or ''}{month:02}"
    if not day:
        return InQuery(text, relative, period)
    next_day = date(year or 2000, month, day) + timedelta(days=1)
    return InQuery(text, relative, period, f"{SIGN}{month:02}{day:02}", f"{SIGN}{next_day.month:02}{next_day.day:02}")


def _absolute(text: str) -> Iterator[Mention]:
    for found in _DATE.finditer(text):
        if _NAME_OR_VERB.match(text, found.start()):
            continue
        parts = {name[:-1]: value for name, value in found.groupdict().items() if value and name != "sign"}
        year, month, day = (_number(parts.get(name)) for name in ("year", "month", "day"))
        if found["month3"] and month and month > 12:  # the day comes first in 31/12/2023
            month, day = day, month
        mention = Mention(year, month, day, found[0])
        if mention.possible:
            yield mention


def _number(part: str | None) -> int | None:
    if part is None:
        return None
    digits = part.rstrip("stndrhSTNDRH")
    return int(digits) if digits.isdigit() else _NUMBERS[part[:3].lower()]


def _relative(text: str, today: date) -> Iterator[Mention]:
    for found in _RELATIVE.finditer(text):
        if period := found["period"]:
            by_month, earlier = period.lower() == "month", found["which"].lower() == "last"
            first = today.replace(day=1) if by_month else today.replace(month=1, day=1)
            day = first - timedelta(days=earlier)
            yield Mention(day.year, day.month if by_month else None, None, found[0], relative=True)
            continue
        if weekday := found["weekday"]:
            days = (today.weekday() - WEEKDAYS.index(weekday.lower())) % 7 or 7
        else:
            days = 0 if found["today"] else int(found["ago"] or 1)
        day = today - timedelta(days)
        yield Mention(day.year, day.month, day.day, found[0], relative=not weekday)


@lru_cache(maxsize=10_000)
def _in_string(text: str) -> tuple[int | None, int | None, int | None] | None:
    return next((mention[:3] for mention in _absolute(text) if mention.year), None)


def _in_field(field: object) -> tuple[int | None, int | None, int | None] | None:
    if isinstance(field, str) and _TIMESTAMP.fullmatch(field):
        field = float(field)
    if isinstance(field, str):
        return _in_string(field) if len(field) <= MAX_FIELD else None
    if isinstance(field, bool) or not isinstance(field, int | float):
        return None
    if not 1e8 <= field < 1e13:  # up to 1973, a number is more likely to be something else
        return None
    moment = datetime.fromtimestamp(field if field < 1e11 else field / 1_000, UTC)
    return moment.year, moment.month, moment.day
