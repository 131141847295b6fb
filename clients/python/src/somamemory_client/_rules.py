"""Check the type and the limits of a value before it is sent. The server checks everything again."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from uuid import UUID

# One of the alternative rules for a field, such as `{"type": "integer", "minimum": 1}`
Rule = Mapping[str, object]

_KINDS: dict[str, tuple[str, Callable[[object], bool]]] = {
    "string": ("text", lambda value: isinstance(value, str | UUID)),
    "integer": ("a whole number", lambda value: isinstance(value, int) and not isinstance(value, bool)),
    "number": ("a number", lambda value: isinstance(value, int | float) and not isinstance(value, bool)),
    "boolean": ("True or False", lambda value: isinstance(value, bool)),
    "object": ("an object, such as a dict", lambda value: isinstance(value, Mapping)),
    "array": ("a list", lambda value: isinstance(value, Sequence) and not isinstance(value, str | bytes)),
    "null": ("None", lambda value: value is None),
}


def problem_with(value: object, rules: Sequence[Rule]) -> str | None:
    """Return a message with the problem and its remedy, or None if one of the rules allows the value."""
    problems = [_problem(value, rule) for rule in rules]
    if not rules or None in problems:
        return None
    limits = [problem for problem in problems if problem]
    if limits:
        return limits[0]
    kinds = dict.fromkeys(_kind(rule) for rule in rules if rule["type"] != "null")
    return f"must be {' or '.join(kinds)}, not {type(value).__name__}"


def _kind(rule: Rule) -> str:
    if rule.get("format") == "date-time":
        return "a datetime or text such as 2026-11-28T12:00:00Z"
    return _KINDS[str(rule["type"])][0]


def _problem(value: object, rule: Rule) -> str | None:
    """Return None if the rule allows the value, "" if the value has the wrong type, or else the limit it violates."""
    kind = rule.get("type")
    if kind is None or rule.get("format") == "coordinate":
        return None if kind is None or isinstance(value, str | Sequence) else ""
    if rule.get("format") == "date-time" and isinstance(value, datetime):
        return None
    if not _KINDS[str(kind)][1](value):
        return ""
    return _limit(value, rule)


def _limit(value: object, rule: Rule) -> str | None:
    choices = rule.get("enum")
    if isinstance(choices, list) and value not in choices:
        return f"must be one of {', '.join(choices)}"
    if isinstance(value, str):
        return _text_limit(value, rule)
    if isinstance(value, int | float):
        return _number_limit(value, rule)
    if isinstance(value, Sequence):
        return _length_limit(len(value), rule, "minItems", "maxItems", "items")
    return None


def _text_limit(value: str, rule: Rule) -> str | None:
    pattern = rule.get("pattern")
    if (problem := _length_limit(len(value), rule, "minLength", "maxLength", "characters")) is not None:
        return problem
    if isinstance(pattern, str) and not re.search(pattern, value):
        return f"must match {pattern}"
    return None


def _length_limit(length: int, rule: Rule, low: str, high: str, unit: str) -> str | None:
    least, most = rule.get(low), rule.get(high)
    if isinstance(least, int) and length < least:
        return "must not be empty" if least == 1 else f"must have at least {least} {unit}"
    if isinstance(most, int) and length > most:
        return f"must have at most {most} {unit}, but has {length}"
    return None


def _number_limit(value: float, rule: Rule) -> str | None:
    if not math.isfinite(value):
        return "must be a finite number"
    least, most, above = rule.get("minimum"), rule.get("maximum"), rule.get("exclusiveMinimum")
    if isinstance(least, int | float) and value < least:
        return f"must be {least} or more"
    if isinstance(most, int | float) and value > most:
        return f"must be {most} or less"
    if isinstance(above, int | float) and value <= above:
        return f"must be more than {above}"
    return None
