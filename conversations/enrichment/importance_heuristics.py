"""Heuristic importance of a message. Pure functions.

A message starts at 3 out of 10. Content that people usually need again (decisions, dates, amounts) adds points; mere
politeness subtracts points. If a language model is configured, its score has a weight of 0.7, and the heuristic score
has a weight of 0.3.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from memories.search import analyzer

BASE = 3.0
HEURISTIC_SHARE, MODEL_SHARE = 0.3, 0.7


@dataclass(frozen=True)
class Score:
    """A heuristic score. `score` is between 1 and 10; `reasons` lists the strongest first."""

    score: float
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class _Sign:
    points: float
    reason: str
    pattern: re.Pattern[str]


def _sign(points: float, reason: str, pattern: str) -> _Sign:
    return _Sign(points, reason, re.compile(pattern, re.IGNORECASE))


_SIGNS = (
    _sign(
        2.5,
        "asks to be remembered",
        r"\b(remember (this|that|to|my)|don'?t forget|keep in mind|note that|fyi|important(ly)?)\b",
    ),
    _sign(
        2.0,
        "contains a decision",
        r"\b(we (have )?decided|i(?:'ve| have)? decided|let'?s go with|we(?:'ll| will) (use|go|do)|agreed|the plan is|"
        r"approved|final(ly|ised|ized)? (decision|choice))\b",
    ),
    _sign(
        1.5,
        "contains a promise or a task",
        r"\b(i(?:'ll| will)|i promise|todo|to-do|deadline|due (by|on)|action item|must|have to|need to)\b",
    ),
    _sign(
        1.5,
        "contains personal information",
        r"\b(my (name|birthday|address|phone|e-?mail|wife|husband|partner|son|daughter|mother|father|mom|dad|boss|"
        r"doctor|job|allerg\w+)|i(?:'m| am) allergic|i (live|work|was born|moved) (in|at|to|for))\b",
    ),
    _sign(
        1.0,
        "contains a date or time",
        r"\b(\d{4}-\d\d-\d\d|\d{1,2}[./]\d{1,2}[./]\d{2,4}|(mon|tues|wednes|thurs|fri|satur|sun)day|tomorrow|"
        r"(january|february|march|april|june|july|august|september|october|november|december)|"
        r"next (week|month|year)|\d{1,2}(:\d\d)? ?[ap]m)\b",
    ),
    _sign(
        1.0,
        "contains numbers or amounts",
        r"([$€£¥] ?\d|\b\d+([.,]\d+)? ?(%|usd|eur|gbp|kg|km|hours?|days?|years?)\b)",
    ),
    _sign(0.8, "contains code or an error", r"(```|\btraceback\b|\b\w*(error|exception)\b)"),
    _sign(0.5, "contains a link or an address", r"(https?://|[\w.+-]{1,64}@[\w-]+\.\w)"),
    _sign(0.5, "contains a question", r"\?"),
)
_POLITE = re.compile(
    r"\W*(thanks?|thank you|ok(ay)?|great|cool|nice|sure|hi|hello|hey|bye|good (morning|night|day)|you'?re welcome|yes|"
    r"no|lol|haha|wow|perfect|got it|sounds good)\b",
    re.IGNORECASE,
)
_SHORT_TERMS, _LONG_TERMS = 3, 40
_MAX_CHARACTERS = 20_000  # only this many characters of a message are examined


def judge(content: str, role: str = "user") -> Score:
    """Score a message by its text and role."""
    content = content[:_MAX_CHARACTERS]
    reasons: list[tuple[float, str]] = [(sign.points, sign.reason) for sign in _SIGNS if sign.pattern.search(content)]
    terms = len(analyzer.content_terms(content))
    if terms <= _SHORT_TERMS and _POLITE.match(content):
        reasons.append((-2.0, "contains only pleasantries"))
    elif terms >= _LONG_TERMS:
        reasons.append((0.7, "is detailed"))
    if role in ("system", "tool"):
        reasons.append((-1.0, f"was written by the {role}"))
    reasons.sort(key=lambda reason: (-abs(reason[0]), reason[1]))
    score = BASE + sum(points for points, _ in reasons)
    return Score(round(min(10.0, max(1.0, score)), 2), tuple(reason for _, reason in reasons))


def combined(heuristic: float, model: float) -> float:
    """Combine the heuristic score and the model's score into a score between 1 and 10."""
    return round(HEURISTIC_SHARE * heuristic + MODEL_SHARE * model, 2)
