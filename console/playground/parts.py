"""The contribution of each component to a hit's score, and the matching words in a text. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from memories.search import analyzer
from memories.search.scoring import QUESTION, Weights

_WORD = re.compile(r"\w+(?:['\u2019]\w+)*")
EXCERPT = 400  # length of an excerpt, in characters
_BEFORE = 120  # how many of these characters come before the first match


@dataclass(frozen=True)
class Contribution:
    """The contribution of one component to a hit's score: its weight, its own score, and their scaled product.

    weight: as a fraction of all weights; None for a component that is added to the weighted mean.
    amount: in [-1, 1]; the amounts of all components add up to the score, unless the score is capped at 1.
    """

    name: str
    weight: float | None
    score: float
    amount: float

    @property
    def percent(self) -> int:
        """Return the length of the component's bar, in percent."""
        return round(100 * abs(self.amount))


def contributions(scores: Mapping[str, float | None], weights: Weights) -> list[Contribution]:
    """Return the components of a score, as added up by `scoring.fuse`. Components without a weight are left out."""
    keyword_only = scores.get("semantic") is None and weights.keyword > 0
    used = {name: getattr(weights, name) for name in ("semantic", "keyword", "recency", "importance", "graph")}
    if keyword_only:  # the memory is not indexed yet
        used["semantic"] = 0.0
    total = sum(used.values())
    parts = []
    for name, weight in used.items():
        score = (scores.get(name) or 0.0) + ((scores.get("neighbours") or 0.0) if name == "keyword" else 0.0)
        if weight:
            parts.append(Contribution(name, weight / total, score, weight * score / total))
    mean = sum(part.amount for part in parts)
    questions, speaker = scores.get("question") or 0.0, scores.get("speaker") or 0.0
    if questions:
        parts.append(Contribution("question", None, questions, max(-QUESTION * questions, -mean / 2)))
    if speaker:
        parts.append(Contribution("speaker", None, speaker, speaker))
    return parts


def matching_terms(query: str) -> frozenset[str]:
    return frozenset(analyzer.query_terms(query)[0])


def marked(text: str, terms: Collection[str]) -> list[tuple[str, bool]]:
    """Return an excerpt around the first matching word, in pieces: (text, whether it matches)."""
    matches = [word.span() for word in _WORD.finditer(text) if terms and _matches(word[0], terms)]
    start = max(0, matches[0][0] - _BEFORE) if matches and matches[0][0] > EXCERPT - _BEFORE else 0
    end = start + EXCERPT
    pieces, at = [("…", False)] if start else [], start
    for begin, stop in matches:
        if start <= begin and stop <= end:
            pieces += [(text[at:begin], False), (text[begin:stop], True)]
            at = stop
    pieces.append((text[at:end] + ("…" if len(text) > end else ""), False))
    return [piece for piece in pieces if piece[0]]


def _matches(word: str, terms: Collection[str]) -> bool:
    return any(term in terms for term in analyzer.terms(word))
