"""Rules for context assembly: decide which messages are worth their tokens. Pure functions.

score → remove duplicates → pack the most valuable per token → sort
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

import numpy as np
import simsimd

from memories.embeddings.base import Vectors
from memories.search.analyzer import content_terms

BUDGET, DUPLICATE, EXCLUDED = "budget", "duplicate", "excluded"
# The value of a message is its score raised to this power. Otherwise, many short, barely relevant messages would be
# preferred to one relevant message, because value is compared per token. Share of the evidence (LoCoMo) in a context of
# 1,000 tokens: .37 with a power of 1, .66 with 2, .77 with 4, .78 with 8, .79 with 12.
SHARPNESS = 8.0
# Added to the number of tokens when values are compared per token, so that very short messages are not preferred only
# because they are short. It does not count against the budget. On the development sets, values from 40 to 120 give the
# same share of the evidence, to within .001.
ITEM_TOKENS = 80
# Do not cut a message below this size, so that the remainder is worth reading.
MIN_CUT_TOKENS = 32
_WORD = re.compile(r"[^\W_]+")
# Thirty characters that may be combining marks: no letters, digits or ASCII characters, but including two halfwidth
# kana marks.
_MARKS = re.compile(r"(?:[^\w\x00-\x7f]|[\uff9e\uff9f]){30}")


Day = tuple[str, str]  # a day of a conversation: (conversation key, date)


@dataclass(frozen=True, slots=True)
class Weights:
    """Weights of a score's components. Only their ratios matter."""

    relevance: float = 0.7
    importance: float = 0.1
    recency: float = 0.1
    label: float = 0.1


@dataclass(frozen=True, slots=True)
class Parts:
    """Components of a score, each in [0, 1]."""

    relevance: float = 0.0
    importance: float = 0.0
    recency: float = 0.0
    label: float = 0.0


@dataclass(frozen=True, slots=True)
class Candidate:
    """A message or a summary, with the values that the rules need. `address` orders a conversation's messages."""

    id: UUID
    address: str
    content: str
    tokens: int
    said_at: datetime
    parts: Parts
    score: float
    version: int = 1
    source: str = "search"
    relevance: float | None = None  # None if no search found the candidate
    vector: Vectors | None = field(default=None, compare=False, repr=False)
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class Rejected:
    candidate: Candidate
    reason: str
    duplicate_of: UUID | None = None


def score(parts: Parts, weights: Weights) -> float:
    """Return the weighted mean of the components, in [0, 1]."""
    weighted = (
        weights.relevance * parts.relevance
        + weights.importance * parts.importance
        + weights.recency * parts.recency
        + weights.label * parts.label
    )
    return min(weighted / (weights.relevance + weights.importance + weights.recency + weights.label), 1.0)


def best_first(candidates: Iterable[Candidate]) -> list[Candidate]:
    return sorted(candidates, key=lambda candidate: (-candidate.score, candidate.address, candidate.id))


def normalized(text: str) -> str:
    """Return the text case-folded, without punctuation or extra spaces, so that copies of a sentence compare equal."""
    # Normalising a long run of combining marks takes quadratic time, so spaces divide it into short ones.
    divided = _MARKS.sub(r"\g<0> ", text)
    words = _WORD.findall(unicodedata.normalize("NFKC", divided).casefold())
    return " ".join(words) or " ".join(text.split())


class Distinct:
    """Collects candidates that are not duplicates of earlier ones.

    Two candidates are duplicates if they have the same words, or if the cosine similarity of their vectors is at least
    `similar_from` and the later one has no word that the earlier one lacks: "at three" and "at four" are close, but not
    duplicates.
    """

    def __init__(self, similar_from: float) -> None:
        self._similar_from = similar_from
        self._by_text: dict[str, Candidate] = {}
        self._distinct: set[UUID] = set()
        self._owners: list[Candidate] = []  # the candidate for each row of `_units`; may be a duplicate
        self._units = np.zeros((0, 0), dtype=np.float32)

    def add(self, candidates: Sequence[Candidate]) -> tuple[list[Candidate], list[Rejected]]:
        """Add candidates, and return (distinct candidates, duplicates)."""
        similar = self._similar(candidates)
        distinct: list[Candidate] = []
        rejected: list[Rejected] = []
        for candidate in candidates:
            text = normalized(candidate.content)
            original = self._by_text.get(text) or self._repeated(candidate, similar.get(candidate.id, ()))
            if original is None:
                self._by_text[text] = candidate
                self._distinct.add(candidate.id)
                distinct.append(candidate)
            else:
                rejected.append(Rejected(candidate, DUPLICATE, original.id))
        return distinct, rejected

    def _repeated(self, candidate: Candidate, similar: Sequence[Candidate]) -> Candidate | None:
        """Return the first similar candidate that is distinct and contains all words of `candidate`, or None."""
        earlier = [other for other in similar if other.id in self._distinct]
        words = _words(candidate.content) if earlier else frozenset()
        # If there are no content words ("And then?"), the vector mostly describes the previous message.
        return next((other for other in earlier if words and words <= _words(other.content)), None)

    def _similar(self, candidates: Sequence[Candidate]) -> Mapping[UUID, Sequence[Candidate]]:
        """Map the id of each candidate to the earlier candidates whose vectors are similar."""
        owners, units = _unit_vectors(candidates)
        similar: defaultdict[UUID, list[Candidate]] = defaultdict(list)
        if not owners:
            return similar
        known = len(self._owners)
        self._owners += owners
        self._units = np.concatenate((self._units, units)) if known else units
        # Unlike a matrix product in NumPy, this starts no threads.
        cosines = np.asarray(simsimd.cdist(units, self._units, "dot", out_dtype="float32"))
        close = np.tril(cosines >= self._similar_from, known - 1)  # excludes the candidate itself and later ones
        for later, earlier in np.argwhere(close).tolist():
            similar[owners[later].id].append(self._owners[earlier])
        return similar


def pack(
    candidates: Sequence[Candidate], budget: int, cut: Callable[[Candidate, int], Candidate] | None = None
) -> tuple[list[Candidate], list[Candidate]]:
    """Return (candidates that fit, candidates that do not). The candidates with the highest value per token go first.

    If a candidate does not fit, `cut(candidate, tokens)` truncates it to the remaining budget. Without `cut`,
    candidates are kept whole.
    """
    chosen: list[Candidate] = []
    left: list[Candidate] = []
    for candidate in sorted(candidates, key=lambda candidate: (-_density(candidate), candidate.address, candidate.id)):
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
    candidates: Sequence[Candidate], days: Mapping[UUID, frozenset[Day]], covered: Iterable[Day], budget: int
) -> list[Candidate]:
    """Return summaries that fit the budget and together cover the most uncovered days, best first."""
    known = set(covered)
    chosen: list[Candidate] = []
    left = {candidate.id: candidate for candidate in candidates if days.get(candidate.id)}
    while left:
        new_days = {id: len(days[id] - known) for id, summary in left.items() if summary.tokens <= budget}
        best = max(new_days, key=lambda id: (new_days[id] * _density(left[id]), left[id].address, id), default=None)
        if best is None or not new_days[best]:
            break
        chosen.append(left.pop(best))
        budget -= chosen[-1].tokens
        known |= days[best]
    return chosen


def in_order(chosen: Iterable[Candidate], order: str) -> list[Candidate]:
    """Sort candidates by score (best first), or in chronological order (by time, then by turn)."""
    if order == "chronological":
        return sorted(chosen, key=lambda candidate: (candidate.said_at, candidate.address, candidate.id))
    return best_first(chosen)


def fingerprint(question: object, chosen: Sequence[Candidate]) -> str:
    """Return a stable hash of the query and the ordered messages. It does not depend on the current time."""
    items = [[str(item.id), item.version, item.tokens, item.truncated] for item in chosen]
    content = json.dumps([question, items], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(content.encode()).hexdigest()


def _density(candidate: Candidate) -> float:
    return math.pow(candidate.score, SHARPNESS) / (candidate.tokens + ITEM_TOKENS)


def _words(content: str) -> frozenset[str]:
    return frozenset(content_terms(content))


def _unit_vectors(candidates: Sequence[Candidate]) -> tuple[list[Candidate], Vectors]:
    """Return the candidates whose vectors are not zero, and their unit vectors as rows."""
    embedded = [(candidate, candidate.vector) for candidate in candidates if candidate.vector is not None]
    if not embedded:
        return [], np.zeros((0, 0), dtype=np.float32)
    vectors = np.stack([vector for _, vector in embedded]).astype(np.float32)
    lengths = np.linalg.norm(vectors, axis=1)
    usable = lengths > 0
    owners = [candidate for (candidate, _), is_usable in zip(embedded, usable, strict=True) if is_usable]
    return owners, vectors[usable] / lengths[usable, np.newaxis]
