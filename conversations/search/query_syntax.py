"""Syntax of full-text queries. Pure functions.

Words, "phrases" and prefixes* can be combined with AND, OR, NOT and parentheses. A `-` before a word excludes it.
Without operators, a text matches if it contains all phrases or, without phrases, at least one word. The analyzer
decides where words begin and end (`memories.search.analyzer`), so both databases give the same results. Stop words are
dropped, even in quotation marks, if the query contains other words. All other characters are plain text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat

from conversations.search.expressions import All, AnyOf, Expression, Not, Phrase, Prefix, Text, Words
from memories.search import analyzer, scoring
from memories.search.scoring import Stats
from memories.search.term_index import Clause
from somamemory.errors import InvalidInput

MAX_PHRASES = 16
MAX_EXCLUDED = 32
MAX_PREFIXES = 8
MAX_OPERANDS = 64  # maximum number of words and phrases in an expression with operators
MAX_DEPTH = 16  # maximum nesting depth of parentheses

_Analyse = Callable[[str], list[str]]  # returns the terms of a text

_OPERATORS = ("AND", "OR", "NOT")
_PARTS = re.compile(r'(?P<excluded>(?<!\S)-)?(?:"(?P<phrase>[^"]*)"|(?P<word>[^\s"]+))')
_TOKENS = re.compile(r'(?P<excluded>(?<![^\s(])-)?(?:"(?P<phrase>[^"]*)"|(?P<word>[()]|[^\s"()]+))')
_PREFIX = re.compile(r"[^\W_][^\s*]*\*")
_LETTERS = re.compile(r"[^\W_]{2,}")


@dataclass(frozen=True)
class WordQuery:
    """A parsed query.

    condition: the expression that a message must match.
    ranked: the terms that add to the rank, phrases before words. Words that begin with one of the `prefixes` also add
    to it.
    any_word: whether a match on any one term is enough. If so, only the best matches need to be read.
    """

    condition: Expression
    ranked: tuple[str, ...]
    prefixes: tuple[Prefix, ...] = ()
    any_word: bool = False

    @property
    def terms(self) -> list[str]:
        """Return the terms to count, up to the maximum number."""
        return list(dict.fromkeys([*(prefix.term for prefix in self.prefixes), *self.ranked]))[
            : analyzer.MAX_QUERY_TERMS
        ]

    @property
    def is_cut(self) -> bool:
        """Return whether there are more terms than the maximum."""
        return len(self.ranked) > analyzer.MAX_QUERY_TERMS

    def clauses(self, stats: Stats) -> list[Clause] | None:
        """Return which terms to look up in the index, or None if any term is enough.

        Raises InvalidInput if messages without any of the query's words could match.
        """
        if self.any_word:
            return None
        clauses = self.condition.clauses(stats.frequency)
        if clauses is None:
            raise InvalidInput(
                "query", "would find messages without any of its words; combine NOT with AND instead of OR"
            )
        return clauses

    def term_weights(self, stats: Stats) -> dict[str, float]:
        """Return the weight of each term and each prefix. A prefix is weighted as if its letters were a word."""
        weights = scoring.term_weights(self.terms, stats)
        ranked = {term: weights[term] for term in self.ranked if term in weights}
        return ranked | {str(prefix): weights[prefix.term] for prefix in self.prefixes}

    @property
    def needs_content(self) -> bool:
        """Return whether a message's content, and not only its terms, is needed to decide whether it matches."""
        return any(isinstance(operand, Prefix) for operand in _operands(self.condition))

    def scores(self, texts: Sequence[Text], stats: Stats) -> list[float]:
        """Return the score of each matching text, in [0, 1]."""
        weights = self.term_weights(stats)
        counted = [" ".join([text.terms, *self._begun(text)]) for text in texts]
        return [scoring.keyword(bm25, weights) for bm25 in scoring.bm25_all(counted, weights, stats.average_length)]

    def _begun(self, text: Text) -> Iterator[str]:
        """Yield each prefix once for every word in the text that begins with it."""
        for prefix in self.prefixes:
            yield from repeat(str(prefix), prefix.count(text))


def parse(query: str) -> WordQuery:
    """Parse a query. Raises InvalidInput if it contains no words, is incomplete or has too many parts."""
    has_operators = any(part["word"] in _OPERATORS for part in _PARTS.finditer(query))
    for analyse in (analyzer.content_terms, analyzer.terms):  # stop words are kept if there are no other words
        parsed = _Parser(query, analyse).parse() if has_operators else _parse_plain(query, analyse)
        if parsed is not None:
            return parsed
    raise InvalidInput("query", "must contain at least one word to search for")


def _parse_plain(query: str, analyse: _Analyse) -> WordQuery | None:
    """Parse a query without operators. Return None if it contains no terms to search for."""
    words: list[str] = []
    phrases: list[Phrase] = []
    prefixes: list[Prefix] = []
    excluded: list[Not] = []
    for part in _PARTS.finditer(query):
        operand = _operand(part, analyse)
        if operand is None:
            continue
        if part["excluded"]:
            excluded.append(Not(operand))
        elif isinstance(operand, Prefix):
            prefixes.append(operand)
        elif part["phrase"] is not None:
            phrases.append(operand)
        else:
            words.append(part["word"])
    _check_count("phrases", phrases, MAX_PHRASES)
    _check_count("excluded words", excluded, MAX_EXCLUDED)
    terms = analyse(" ".join(words))
    required: Sequence[Expression] = phrases or [AnyOf([Words(frozenset(terms)), *prefixes])]
    of_phrases = [term for phrase in phrases for term in phrase.terms]
    any_word = not phrases and not prefixes
    return _ranked(All([*required, *excluded]), [*of_phrases, *terms], prefixes, any_word=any_word)


def _ranked(
    condition: Expression | None, terms: Sequence[str], prefixes: Sequence[Prefix], *, any_word: bool = False
) -> WordQuery | None:
    _check_count("prefixes", prefixes, MAX_PREFIXES)
    if condition is None or not (terms or prefixes):
        return None
    return WordQuery(condition, tuple(dict.fromkeys(terms)), tuple(prefixes), any_word)


def _operand(part: re.Match[str], analyse: _Analyse) -> Phrase | Prefix | None:
    """Return the expression for a part of the query, or None if it contains no terms."""
    if part["phrase"] is None and _PREFIX.fullmatch(part["word"]):
        return _prefix(analyzer.fold(part["word"].rstrip("*")))
    terms = tuple(analyse(part["word"] if part["phrase"] is None else part["phrase"]))
    return Phrase(terms) if terms else None


def _prefix(letters: str) -> Phrase | Prefix:
    if not _LETTERS.fullmatch(letters):
        raise InvalidInput(
            "query", "has a misplaced *; it must directly follow a word of at least 2 letters, as in coff*"
        )
    terms = tuple(analyzer.terms(letters))
    if len(terms) == 1:
        return Prefix(letters, terms[0])
    return Phrase(terms)  # in scripts without spaces, a word is found inside longer words anyway


class _Parser:
    """A parser for expressions. NOT binds more tightly than AND, and AND more tightly than OR.

    Parts without an operator between them are joined by AND.
    """

    def __init__(self, query: str, analyse: _Analyse) -> None:
        self._analyse = analyse  # for phrases; stop words outside phrases are always dropped
        self._tokens = list(_TOKENS.finditer(query))
        _check_count("words, operators and parentheses", self._tokens, 4 * MAX_OPERANDS)
        self._at = 0
        self._depth = 0

    def parse(self) -> WordQuery | None:
        condition = self._any_of()
        if self._next() is not None:
            raise InvalidInput("query", 'has an unmatched ")"; remove it or add the missing "("')
        operands = list(_operands(condition)) if condition else []
        _check_count("words and phrases", operands, MAX_OPERANDS)
        wanted = list(_operands(condition, with_excluded=False)) if condition else []
        terms = [term for operand in wanted if isinstance(operand, Phrase) for term in operand.terms]
        return _ranked(condition, terms, [operand for operand in wanted if isinstance(operand, Prefix)])

    def _any_of(self) -> Expression | None:
        options = [self._all()]
        while self._next() == "OR":
            self._at += 1
            options.append(self._all())
        return _join(AnyOf, options)

    def _all(self) -> Expression | None:
        parts = [self._part()]
        while self._next() not in ("OR", ")", None):
            if self._next() == "AND":
                self._at += 1
            parts.append(self._part())
        return _join(All, parts)

    def _part(self) -> Expression | None:
        word = self._next()
        if word in ("AND", "OR", ")", None):
            raise InvalidInput("query", self._missing())
        self._at += 1
        if word == "NOT":
            part = self._part()
            return part and Not(part)
        if word == "(":
            return self._group()
        found = self._tokens[self._at - 1]
        operand = _operand(found, analyzer.content_terms if word else self._analyse)
        return Not(operand) if operand and found["excluded"] else operand

    def _group(self) -> Expression | None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise InvalidInput("query", f"has more than {MAX_DEPTH} levels of parentheses")
        inner = self._any_of()
        if self._next() != ")":
            raise InvalidInput("query", 'has an unmatched "("; remove it or add the missing ")"')
        self._at += 1
        self._depth -= 1
        return inner

    def _next(self) -> str | None:
        """Return the next word, operator or parenthesis, "" for a phrase, or None at the end of the query."""
        if self._at == len(self._tokens):
            return None
        return self._tokens[self._at]["word"] or ""

    def _missing(self) -> str:
        """Return the error message for the position at which a word is missing."""
        before = self._tokens[self._at - 1]["word"] if self._at else None
        operator = before if before in _OPERATORS else self._next()
        if operator in _OPERATORS:
            return f"has no word next to {operator}; add one, or write {operator.lower()} to search for that word"
        return "has parentheses without a word; add a word or remove them"


def _join(kind: type[All | AnyOf], parts: Sequence[Expression | None]) -> Expression | None:
    """Join the parts. Parts that are None, because they contain only stop words, are dropped."""
    some = [part for part in parts if part is not None]
    return kind(some) if len(some) > 1 else next(iter(some), None)


def _operands(expression: Expression, *, with_excluded: bool = True) -> Iterator[Phrase | Prefix]:
    """Yield the words, phrases and prefixes in an expression."""
    if isinstance(expression, Phrase | Prefix):
        yield expression
    elif isinstance(expression, All | AnyOf):
        for part in expression.parts:
            yield from _operands(part, with_excluded=with_excluded)
    elif isinstance(expression, Not) and with_excluded:
        yield from _operands(expression.part)


def _check_count(name: str, given: Sequence[object], most: int) -> None:
    if len(given) > most:
        raise InvalidInput("query", f"has {len(given)} {name}; the maximum is {most}")
