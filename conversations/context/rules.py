"""Which messages are worth their tokens: the rules of context assembly. Pure.

score → leave out what says the same → pack the most valuable per token → put in order
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

import numpy as np

from memories.embeddings.base import Vectors
from memories.search.analyzer import content_terms

BUDGET, DUPLICATE, EXCLUDED = "budget", "duplicate", "excluded"
# The value of a message is this power of its score: per token, many short ones that hardly matter would outweigh one
# that does. Evidence inside a context of 1,000 tokens (LoCoMo) with 1: .37, 2: .66, 4: .77, 8: .78, 12: .79.
SHARPNESS = 8.0
# What is left for a message that is cut must be worth reading.
MIN_CUT_TOKENS = 32
_WORD = re.compile(r"[^\W_]+")


Day = tuple[str, str]  # of a conversation: its key, and a date


@dataclass(frozen=True, slots=True)
class Weights:
    """How much each part counts; only their proportion matters."""

    relevance: float = 0.7
    importance: float = 0.1
    recency: float = 0.1
    label: float = 0.1


@dataclass(frozen=True, slots=True)
class Parts:
    """Each in [0, 1]."""

    relevance: float = 0.0
    importance: float = 0.0
    recency: float = 0.0
    label: float = 0.0


@dataclass(frozen=True, slots=True)
class Candidate:
    """A message as the rules know it. `address` orders those of one conversation."""

    id: UUID
    address: str
    content: str
    tokens: int
    said_at: datetime
    parts: Parts
    score: float
    version: int = 1
    source: str = "search"
    vector: Vectors | None = field(default=None, compare=False, repr=False)
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class Rejected:
    candidate: Candidate
    reason: str
    duplicate_of: UUID | None = None


def score(parts: Parts, weights: Weights) -> float:
    """The weighted mean of the parts, in [0, 1]."""
    weighted = (
        weights.relevance * parts.relevance
        + weights.importance * parts.importance
        + weights.recency * parts.recency
        + weights.label * parts.label
    )
    return min(weighted / (weights.relevance + weights.importance + weights.recency + weights.label), 1.0)


def best_first(candidates: Iterable[Candidate]) -> list[Candidate]:
    return sorted(candidates, key=lambda each: (-each.score, each.address, each.id))


def normalised(text: str) -> str:
    """Without case, punctuation and spacing: what two copies of one sentence have in common."""
    words = _WORD.findall(unicodedata.normalize("NFKC", text).casefold())
    return " ".join(words) or " ".join(text.split())


def without_duplicates(
    candidates: Sequence[Candidate], similar_from: float, known: Sequence[Candidate] = ()
) -> tuple[list[Candidate], list[Rejected]]:
    """Those that say something which none before them says, and none of the `known`; and the others.

    The same is said by the same words; and by vectors with this cosine at least, if there is no word that is not in
    the other: "at three" and "at four" are close, and not the same.
    """
    seen = _Seen(len(known) + len(candidates), similar_from)
    for each in known:
        seen.add(each)
    kept: list[Candidate] = []
    rejected: list[Rejected] = []
    for candidate in candidates:
        same = seen.says(candidate)
        if same is None:
            kept.append(candidate)
            seen.add(candidate)
        else:
            rejected.append(Rejected(candidate, DUPLICATE, same.id))
    return kept, rejected


class _Seen:
    """The messages that are kept so far, by what they say."""

    def __init__(self, most: int, similar_from: float) -> None:
        self.most, self.similar_from = most, similar_from
        self.by_text: dict[str, Candidate] = {}
        self.owners: list[Candidate] = []  # of the rows of `vectors`
        self.vectors = np.zeros((0, 0), dtype=np.float32)

    def says(self, candidate: Candidate) -> Candidate | None:
        """The one that says the same."""
        known = self.by_text.get(normalised(candidate.content))
        unit = _unit(candidate.vector)
        if known is not None or unit is None or not self.owners:
            return known
        cosines = self.vectors[: len(self.owners)] @ unit
        close = [self.owners[at] for at in np.flatnonzero(cosines >= self.similar_from)]
        own = _words(candidate.content) if close else frozenset()
        # Of what holds no word ("And then?") the vector is mostly that of the message before.
        return next((each for each in close if own and own <= _words(each.content)), None)

    def add(self, candidate: Candidate) -> None:
        self.by_text[normalised(candidate.content)] = candidate
        unit = _unit(candidate.vector)
        if unit is not None:
            if not self.owners:
                self.vectors = np.zeros((self.most, len(unit)), dtype=np.float32)
            self.vectors[len(self.owners)] = unit
            self.owners.append(candidate)


def pack(
    candidates: Sequence[Candidate], budget: int, cut: Callable[[Candidate, int], Candidate] | None = None
) -> tuple[list[Candidate], list[Candidate]]:
    """(what fits, what does not): the most valuable per token first; a message is whole, or not there.

    With `cut` (a candidate and how many tokens it may have), one that does not fit is cut to what is left.
    """
    chosen: list[Candidate] = []
    left: list[Candidate] = []
    for candidate in sorted(candidates, key=lambda each: (-_density(each), each.address, each.id)):
        if candidate.tokens <= budget:
            chosen.append(candidate)
            budget -= candidate.tokens
        elif cut is not None and budget >= MIN_CUT_TOKENS:
            part = cut(candidate, budget)
            chosen.append(part)
            budget -= part.tokens
        else:
            left.append(candidate)
    return chosen, left


def covering(
    candidates: Sequence[Candidate], days: Mapping[UUID, frozenset[Day]], told: Iterable[Day], budget: int
) -> list[Candidate]:
    """Those summaries that fit and together tell of the most days that nothing tells of yet, the best first."""
    known = set(told)
    chosen: list[Candidate] = []
    left = {each.id: each for each in candidates if days.get(each.id)}
    while left:
        news = {id: len(days[id] - known) for id, each in left.items() if each.tokens <= budget}
        best = max(news, key=lambda id: (news[id] * _density(left[id]), left[id].address, id), default=None)
        if best is None or not news[best]:
            break
        chosen.append(left.pop(best))
        budget -= chosen[-1].tokens
        known |= days[best]
    return chosen


def in_order(chosen: Iterable[Candidate], order: str) -> list[Candidate]:
    """`relevance`: best first. `chronological`: as it was said; turns of one moment in their order."""
    if order == "chronological":
        return sorted(chosen, key=lambda each: (each.said_at, each.address, each.id))
    return best_first(chosen)


def fingerprint(question: object, chosen: Sequence[Candidate]) -> str:
    """The same for the same question and the same messages, in this order; no clock is in it."""
    items = [[str(each.id), each.version, each.tokens, each.truncated] for each in chosen]
    told = json.dumps([question, items], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(told.encode()).hexdigest()


def scored(candidate: Candidate, parts: Parts, weights: Weights) -> Candidate:
    return replace(candidate, parts=parts, score=score(parts, weights))


def _density(candidate: Candidate) -> float:
    return math.pow(candidate.score, SHARPNESS) / max(candidate.tokens, 1)


def _words(content: str) -> frozenset[str]:
    return frozenset(content_terms(content))


def _unit(vector: Vectors | None) -> Vectors | None:
    if vector is None:
        return None
    length = float(np.linalg.norm(vector))
    return None if not length else (vector / length).astype(np.float32)
