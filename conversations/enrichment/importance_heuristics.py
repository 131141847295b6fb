"""Heuristic importance of a message. Pure.

A message starts at 3 of 10. Signs of content that people come back for (decisions, dates, amounts) add points; mere
politeness takes points away. If there is a language model, its score has weight 0.7 and this one 0.3.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from memories.search import analyzer

BASE = 3.0
HEURISTIC_SHARE, MODEL_SHARE = 0.3, 0.7


@dataclass(frozen=True)
class Score:
    """`score`: 1 to 10. `reasons`: by weight, the strongest first."""

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
        "a decision",
        r"\b(we (have )?decided|i(?:'ve| have)? decided|let'?s go with|we(?:'ll| will) (use|go|do)|agreed|the plan is|"
        r"approved|final(ly|ised|ized)? (decision|choice))\b",
    ),
    _sign(
        1.5,
        "a promise or a task",
        r"\b(i(?:'ll| will)|i promise|todo|to-do|deadline|due (by|on)|action item|must|have to|need to)\b",
    ),
    _sign(
        1.5,
        "something about a person",
        r"\b(my (name|birthday|address|phone|e-?mail|wife|husband|partner|son|daughter|mother|father|mom|dad|boss|"
        r"doctor|job|allerg\w+)|i(?:'m| am) allergic|i (live|work|was born|moved) (in|at|to|for))\b",
    ),
    _sign(
        1.0,
        "a date or a time",
        r"\b(\d{4}-\d\d-\d\d|\d{1,2}[./]\d{1,2}[./]\d{2,4}|(mon|tues|wednes|thurs|fri|satur|sun)day|tomorrow|"
        r"(january|february|march|april|june|july|august|september|october|november|december)|"
        r"next (week|month|year)|\d{1,2}(:\d\d)? ?[ap]m)\b",
    ),
    _sign(1.0, "numbers or amounts", r"([$€£¥] ?\d|\b\d+([.,]\d+)? ?(%|usd|eur|gbp|kg|km|hours?|days?|years?)\b)"),
    _sign(0.8, "code or an error", r"(```|\btraceback\b|\b\w*(error|exception)\b)"),
    _sign(0.5, "a link or an address", r"(https?://|[\w.+-]{1,64}@[\w-]+\.\w)"),
    _sign(0.5, "a question", r"\?"),
)
_POLITE = re.compile(
    r"\W*(thanks?|thank you|ok(ay)?|great|cool|nice|sure|hi|hello|hey|bye|good (morning|night|day)|you'?re welcome|yes|"
    r"no|lol|haha|wow|perfect|got it|sounds good)\b",
    re.IGNORECASE,
)
_SHORT_TERMS, _LONG_TERMS = 3, 40
_MAX_CHARACTERS = 20_000  # of a message that are examined


def judge(content: str, role: str = "user") -> Score:
    """Score a message by its text and role."""
    content = content[:_MAX_CHARACTERS]
    reasons: list[tuple[float, str]] = [(sign.points, sign.reason) for sign in _SIGNS if sign.pattern.search(content)]
    terms = len(analyzer.content_terms(content))
    if terms <= _SHORT_TERMS and _POLITE.match(content):
        reasons.append((-2.0, "only polite"))
    elif terms >= _LONG_TERMS:
        reasons.append((0.7, "says a lot"))
    if role in ("system", "tool"):
        reasons.append((-1.0, f"said by the {role}"))
    reasons.sort(key=lambda reason: (-abs(reason[0]), reason[1]))
    score = BASE + sum(points for points, _ in reasons)
    return Score(round(min(10.0, max(1.0, score)), 2), tuple(reason for _, reason in reasons))


def combined(heuristic: float, model: float) -> float:
    """Combine both scores, from 1 to 10."""
    return round(HEURISTIC_SHARE * heuristic + MODEL_SHARE * model, 2)
