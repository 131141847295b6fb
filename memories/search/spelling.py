"""Correct the misspelled words of a query.

A word is misspelled if no searched memory contains it and it is not in the English dictionary of `pyspellchecker`. It
is replaced by a word from the searched memories that differs from it by one typing error: a missing, additional or
wrong letter, or two swapped letters. If there are several such words, the most frequent one is used. The first letter
is never changed, because it is rarely wrong. Queries in other languages are not corrected, because the dictionary
contains none of their words.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from string import ascii_lowercase
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from memories.search import analyzer

MIN_LENGTH = 5  # shorter words resemble too many others
MAX_LENGTH = 20
MAX_CORRECTIONS = 3  # the number of words in a query that are corrected
MAX_PAIRS = 9  # the number of corrected words times the number of namespaces; with more namespaces, none is corrected
MAX_TERMS = 24  # longer queries are not corrected, because a single word hardly matters there
SHORT_QUERY = 2  # the language of a query with up to this number of words is not examined

# Parts of identifiers, addresses and file names are not words.
_WORD = re.compile(rf"(?<![\w'@./\\:-])[A-Za-z]{{{MIN_LENGTH},{MAX_LENGTH}}}(?!['@/\\-]?\w|[.:]\w)")
_ANY_WORD = re.compile(r"[^\W\d_]+")
_loading = Lock()

# Returns how many of the searched memories contain each term.
Count = Callable[[Sequence[str]], Mapping[str, int]]


def corrections(query: str, frequency: Mapping[str, int], count: Count, namespaces: int = 1) -> dict[str, str]:
    """Return the corrections for a query: a word for each misspelled one, both in lower case.

    frequency: how many of the searched memories contain each term of the query.
    namespaces: the number of namespaces in which `count` counts.
    """
    if 0 not in frequency.values() or len(frequency) > MAX_TERMS:
        return {}
    words = dict.fromkeys(word.lower() for word in _WORD.findall(query))
    unknown = [word for word in words if _occurs_nowhere(word, frequency) and not _in_dictionary(word)]
    if not unknown or not _in_english(query):
        return {}
    most = min(MAX_CORRECTIONS, MAX_PAIRS // max(namespaces, 1))
    similar = {word: _similar(word) for word in unknown[:most]}
    if not any(similar.values()):
        return {}
    counts = count(list(dict.fromkeys(term for terms in similar.values() for term in terms)))
    best = {word: max(terms, key=lambda term: counts[term]) for word, terms in similar.items() if terms}
    return {word: similar[word][term] for word, term in best.items() if counts[term]}


def corrected(query: str, corrections: Mapping[str, str]) -> str:
    """Return the query with these corrections. Capital letters are kept, because they distinguish names."""
    return _WORD.sub(lambda found: _with_case_of(found[0], corrections), query) if corrections else query


def _with_case_of(word: str, corrections: Mapping[str, str]) -> str:
    correction = corrections.get(word.lower())
    if correction is None:
        return word
    return correction.upper() if word.isupper() else correction.capitalize() if word[0].isupper() else correction


def _occurs_nowhere(word: str, frequency: Mapping[str, int]) -> bool:
    (term,) = analyzer.terms(word)
    return frequency.get(term) == 0


def _similar(word: str) -> dict[str, str]:
    """Return the words that differ from this one by one typing error, by their term, without stop words.

    If one of them is a stop word, the result is empty: "thier" is more likely to mean "their" than "tier".
    """
    splits = [(word[:at], word[at:]) for at in range(1, len(word) + 1)]
    words = [
        *(before + after[1:] for before, after in splits),
        *(before + after[1::-1] + after[2:] for before, after in splits),
        *(before + letter + after[1:] for before, after in splits for letter in ascii_lowercase if after),
        *(before + letter + after for before, after in splits for letter in ascii_lowercase),
    ]
    if not analyzer.STOP_WORDS.isdisjoint(words):
        return {}
    # Of the words with the same term, prefer one that exists, because the query is also embedded.
    words = [words[at] for at in np.argsort(~_listed([word[:MAX_LENGTH] for word in words]), kind="stable")]
    terms: dict[str, str] = {}
    for term, similar in zip(analyzer.stems(words), words, strict=True):
        terms.setdefault(term, similar)
    return terms


def _in_english(query: str) -> bool:
    """Return whether at least half of the query's words are English, or the query is too short to tell.

    Names are not counted, nor are short words other than stop words, because several languages have them in common.
    """
    first, *others = _ANY_WORD.findall(query)
    words = [analyzer.fold(word) for word in (first, *(word for word in others if word.islower()))]
    telling = [word for word in words if len(word) >= 4 or word in analyzer.STOP_WORDS]
    english = [word for word in telling if word in analyzer.STOP_WORDS or _in_dictionary(word)]
    return len(words) <= SHORT_QUERY or len(english) >= len(telling) / 2


def _in_dictionary(word: str) -> bool:
    return word.isascii() and len(word) <= MAX_LENGTH and bool(_listed([word])[0])


def _listed(words: Sequence[str]) -> NDArray[np.bool_]:
    """Return whether the dictionary contains each of the words, which consist of up to `MAX_LENGTH` ASCII letters."""
    with _loading:
        dictionary = _dictionary()
    searched = np.array([word.encode() for word in words], dtype=dictionary.dtype)
    at = np.minimum(dictionary.searchsorted(searched), len(dictionary) - 1)
    listed: NDArray[np.bool_] = dictionary[at] == searched
    return listed


@lru_cache(maxsize=1)
def _dictionary() -> NDArray[np.bytes_]:
    """Return the words of the dictionary, sorted. As an array, they take 3 MB; as a set, 18 MB."""
    from spellchecker import SpellChecker  # many processes never need it

    words = (word.encode() for word in SpellChecker(distance=1) if word.isascii() and len(word) <= MAX_LENGTH)
    return np.array(sorted(words), dtype=f"S{MAX_LENGTH}")
