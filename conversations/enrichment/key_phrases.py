"""Key phrases of a conversation: what it says often, others rarely, and what is close to all that it says. Pure.

Candidates are runs of one to three words without a stop word, as they stand between punctuation.
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

MAX_CANDIDATES = 200  # the most frequent ones are embedded
_MAX_WEIGHED = 40  # the best of those are compared with what others say
_LONGEST = 3
_BREAK = re.compile(r"[^\w'’ -]+|\s-+\s|\n")  # noqa: RUF001 - an apostrophe of many texts
_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")  # noqa: RUF001
# What people say in every conversation, whatever it is about.
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
    """`score` in [0, 1]; `count`: how often the conversation says it."""

    words: str
    score: float
    count: int


Ranked = tuple[tuple[str, ...], Phrase]


def candidates(passages: Iterable[str]) -> Mapping[tuple[str, ...], Counter[str]]:
    """Phrases by their terms, each with the ways it is written and how often."""
    found: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
    for passage in passages:
        for run in _runs(passage):
            for length in range(1, _LONGEST + 1):
                for start in range(len(run) - length + 1):
                    part = run[start : start + length]
                    found[tuple(term for _, term in part)][" ".join(word for word, _ in part)] += 1
    return found


def key_phrases(
    passages: Sequence[str],
    embed: Callable[[Sequence[str]], Vectors],
    rarity: Callable[[Sequence[str]], Mapping[str, float]],
    most: int = 5,
) -> list[Phrase]:
    """The best phrases, none of which is part of another one that says it as often.

    rarity: for terms, how rare each is elsewhere, in [0, 1].
    """
    found = candidates(passages)
    ranked = sorted(found.items(), key=lambda each: (-each[1].total() * len(each[0]) ** 0.5, each[0]))[:MAX_CANDIDATES]
    if not ranked:
        return []
    written = [ways.most_common(1)[0][0] for _, ways in ranked]
    vectors = embed([*written, "\n".join(passages)])
    lengths = np.maximum(np.linalg.norm(vectors, axis=1), 1e-12)
    closeness = np.clip((vectors[:-1] @ vectors[-1]) / (lengths[:-1] * lengths[-1]), 0, 1)
    most_said = math.log1p(max(ways.total() for _, ways in ranked))
    phrases = _ranked(
        (terms, Phrase(way, _score(math.log1p(ways.total()) / most_said, len(terms), close), ways.total()))
        for (terms, ways), way, close in zip(ranked, written, closeness.tolist(), strict=True)
    )[:_MAX_WEIGHED]
    rare = rarity(sorted({term for terms, _ in phrases for term in terms}))
    weighed = [
        (
            terms,
            replace(phrase, score=phrase.score * (0.3 + 0.7 * sum(rare.get(term, 1.0) for term in terms) / len(terms))),
        )
        for terms, phrase in phrases
    ]
    return _distinct(_ranked(weighed), most)


def _score(often: float, words: int, closeness: float) -> float:
    """Said often and close to the whole; several words say more than one."""
    return min(1.0, often * (0.4 + 0.6 * closeness) * (0.7 if words == 1 else 1.0))


def _ranked(phrases: Iterable[Ranked]) -> list[Ranked]:
    return sorted(phrases, key=lambda each: (-each[1].score, each[0]))


def _distinct(ranked: Sequence[Ranked], most: int) -> list[Phrase]:
    taken: list[tuple[set[str], Phrase]] = []
    for terms, phrase in ranked:
        if any(set(terms) & others for others, _ in taken):
            continue
        taken.append((set(terms), phrase))
        if len(taken) == most:
            break
    return [phrase for _, phrase in taken]


def _runs(passage: str) -> Iterable[list[tuple[str, str]]]:
    """Neighbouring words of content, each as it is written and as a term."""
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
