"""Key phrases: phrases that are frequent in a conversation, rare in others, and similar to the whole conversation.

Candidates are sequences of one to three words without stop words or punctuation. Pure functions.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from memories.embeddings.base import Vectors
from memories.search import analyzer

MAX_CANDIDATES = 200  # only this many of the most frequent candidates are embedded
_MAX_WEIGHED = 40  # only this many of the best candidates are weighted by their rarity
_MAX_WORDS = 3
_BREAK = re.compile(r"[^\w'’ -]+|\s-+\s|\n")  # noqa: RUF001 - a common apostrophe
_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")  # noqa: RUF001
# Words that are common in conversations on any subject.
_CHATTER = frozenset(
    """
    hey hi hello yeah yes yep nope okay ok oh ah wow haha lol thanks thank please sorry sure really actually definitely
    totally absolutely super pretty quite maybe perhaps probably just also too well still even already always never ever
    like love loved know think thought guess feel feels felt feeling mean means say says said tell told talk talking
    talked ask asked hear heard see saw seen look looks looking looked watch find found get gets getting got go goes
    going went gone come comes coming came take takes taking took taken make makes making made give gave given put keep
    keeps kept let want wants wanted need needs needed try trying tried start started starting use used using help
    helps helped work works thing things something anything everything nothing stuff lot lots bit kind sort way ways
    good great nice awesome amazing cool glad happy best better new old big little much many one two first last next
    time times day days today tomorrow yesterday week weeks month year lately recently soon ago back right now around
    will can may might could us everyone someone people guy guys enjoy enjoyed fun
    important together photo photos pic pics picture pictures image images i'll wanna gonna gotta
    """.split()  # noqa: SIM905
)


@dataclass(frozen=True)
class Phrase:
    """A key phrase. `score` is in [0, 1]; `count` is the number of occurrences in the conversation."""

    words: str
    score: float
    count: int


Ranked = tuple[tuple[str, ...], Phrase]


def candidates(passages: Iterable[str]) -> Mapping[tuple[str, ...], Counter[str]]:
    """Return candidate phrases, keyed by their terms, with the count of each spelling."""
    spellings: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
    for passage in passages:
        for run in _runs(passage):
            for length in range(1, _MAX_WORDS + 1):
                for start in range(len(run) - length + 1):
                    part = run[start : start + length]
                    spellings[tuple(term for _, term in part)][" ".join(word for word, _ in part)] += 1
    return spellings


def key_phrases(
    passages: Sequence[str],
    embed: Callable[[Sequence[str]], Vectors],
    rarity: Callable[[Sequence[str]], Mapping[str, float]],
    max_phrases: int = 5,
) -> list[Phrase]:
    """Return the best phrases. No two of them have a term in common.

    rarity: function that returns how rare each term is in other conversations, in [0, 1].
    """
    phrases = _by_frequency(passages, embed)[:_MAX_WEIGHED]
    if not phrases:
        return []
    rare = rarity(sorted({term for terms, _ in phrases for term in terms}))
    weighted = [
        (
            terms,
            replace(phrase, score=phrase.score * (0.3 + 0.7 * sum(rare.get(term, 1.0) for term in terms) / len(terms))),
        )
        for terms, phrase in phrases
    ]
    return _distinct(_ranked(weighted), max_phrases)


def _by_frequency(passages: Sequence[str], embed: Callable[[Sequence[str]], Vectors]) -> list[Ranked]:
    """Rank the most frequent candidates by frequency and by similarity to the whole conversation."""
    counted = candidates(passages).items()
    frequent = sorted(counted, key=lambda item: (-item[1].total() * len(item[0]) ** 0.5, item[0]))[:MAX_CANDIDATES]
    if not frequent:
        return []
    texts = [spellings.most_common(1)[0][0] for _, spellings in frequent]
    vectors = embed([*texts, "\n".join(passages)])
    lengths = np.maximum(np.linalg.norm(vectors, axis=1), 1e-12)
    similarities = np.clip((vectors[:-1] @ vectors[-1]) / (lengths[:-1] * lengths[-1]), 0, 1)
    max_frequency = math.log1p(max(spellings.total() for _, spellings in frequent))
    return _ranked(
        (terms, Phrase(text, _score(math.log1p(count.total()) / max_frequency, len(terms), similarity), count.total()))
        for (terms, count), text, similarity in zip(frequent, texts, similarities.tolist(), strict=True)
    )


def _score(frequency: float, words: int, similarity: float) -> float:
    """Score a phrase by its relative frequency and its similarity to the whole conversation.

    Single words score lower than longer phrases.
    """
    return min(1.0, frequency * (0.4 + 0.6 * similarity) * (0.7 if words == 1 else 1.0))


def _ranked(phrases: Iterable[Ranked]) -> list[Ranked]:
    return sorted(phrases, key=lambda item: (-item[1].score, item[0]))


def _distinct(ranked: Sequence[Ranked], max_phrases: int) -> list[Phrase]:
    """Return the best phrases that have no term in common."""
    phrases: list[Phrase] = []
    used: set[str] = set()
    for terms, phrase in ranked:
        if used.isdisjoint(terms):
            phrases.append(phrase)
            used.update(terms)
        if len(phrases) == max_phrases:
            break
    return phrases


def _runs(passage: str) -> Iterable[list[tuple[str, str]]]:
    """Yield sequences of content words, each as (spelling, term)."""
    for piece in _BREAK.split(passage):
        run: list[tuple[str, str]] = []
        for match in _WORD.finditer(piece):
            word = match[0]
            folded = analyzer.fold(word)
            terms = analyzer.content_terms(word)
            if len(terms) == 1 and folded not in _CHATTER and len(folded) > 2 and not folded.isdigit():
                run.append((word, terms[0]))
            elif run:
                yield run
                run = []
        if run:
            yield run
