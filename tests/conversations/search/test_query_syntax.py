"""The syntax of full-text queries: operators, parentheses and prefixes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conversations.search import query_syntax
from conversations.search.expressions import All, AnyOf, Expression, Not, Phrase, Text, Words
from memories.search import analyzer
from memories.search.term_index import Clause
from tests.conftest import Api, problem_of
from tests.support.conversations import begin, full_text


@pytest.mark.parametrize(
    ("words", "detail"),
    [
        ("dog AND", "has no word next to AND"),
        ("OR dog", "has no word next to OR"),
        ("dog OR OR fox", "has no word next to OR"),
        ("dog AND (fox", 'has an unmatched "("'),
        ("dog) AND fox", 'has an unmatched ")"'),
        ("dog AND ()", "has parentheses without a word"),
        ("NOT", "has no word next to NOT"),
        ("dog OR NOT fox", "combine NOT with AND"),
        ("d*", "at least 2 letters"),
        ("well-known*", "at least 2 letters"),
        ("(" * 17 + "dog" + ")" * 17 + " AND fox", "more than 16 levels of parentheses"),
        (" OR ".join(f"w{n}" for n in range(65)), "has 65 words and phrases; the maximum is 64"),
        (" ".join(f"word{n}*" for n in range(9)), "has 9 prefixes; the maximum is 8"),
        ("NOT " * 300 + "dog", "the maximum is 256"),
    ],
)
def test_an_incomplete_expression_is_refused_with_the_remedy(api: Api, words: str, detail: str) -> None:
    assert detail in problem_of(api.post("/api/v1/search/fts", {"query": words}), 422, field="query")["detail"]


def test_the_longest_expression_can_be_looked_up(api: Api) -> None:
    begin(api, "aardvark")
    prefixes = " OR ".join(f"{'abcdefgh'[n] * 30}*" for n in range(8))

    assert full_text(api, f"aardvark OR {prefixes} OR " + " OR ".join(f"w{n}" for n in range(55))) == ["aardvark"]


def test_a_word_that_begins_with_the_prefix_adds_to_the_rank(api: Api) -> None:
    begin(api, "a kilometre, 2 kilograms and 3 kilowatts", "one kilo", "no unit")

    assert full_text(api, "kilo*") == ["a kilometre, 2 kilograms and 3 kilowatts", "one kilo"]


@pytest.mark.parametrize(
    ("typed", "condition"),
    [
        ("coffee cups", All([AnyOf([Words(frozenset({"coffe", "cup"}))])])),
        ('"black coffee" -milk', All([Phrase(("black", "coffe")), Not(Phrase(("milk",)))])),
        ("the", All([AnyOf([Words(frozenset({"the"}))])])),
        ("tea OR cups AND NOT milk", AnyOf([Phrase(("tea",)), All([Phrase(("cup",)), Not(Phrase(("milk",)))])])),
        ("the cups AND tea", All([Phrase(("cup",)), Phrase(("tea",))])),
        ('"the" coffee', All([AnyOf([Words(frozenset({"coffe"}))])])),
        ('"the" "black coffee"', All([Phrase(("black", "coffe"))])),
        ('coffee AND "the"', Phrase(("coffe",))),
        ('"the who"', All([Phrase(("the", "who"))])),
        ('"the who" AND NOT coffee', All([Phrase(("the", "who")), Not(Phrase(("coffe",)))])),
    ],
)
def test_a_query_is_parsed_into_an_expression(typed: str, condition: Expression) -> None:
    assert query_syntax.parse(typed).condition == condition


@pytest.mark.parametrize("query", ['"the" coffee', 'coffee AND "the"', "coffee AND the"])
def test_a_quoted_stop_word_does_not_exclude_messages(api: Api, query: str) -> None:
    begin(api, "I like the coffee of the house")

    assert full_text(api, query) == ["I like the coffee of the house"]


WORDS = [
    "dog",
    "dogs",
    "running",
    "runs",
    "happy",
    "happiness",
    "organization",
    "organ",
    "hoping",
    "hope",
    "relational",
]
PREFIXES = ["dog*", "run*", "happ*", "happiness*", "organiz*", "hopin*", "relat*"]
words = st.sampled_from(WORDS)
expressions = st.recursive(
    words | st.sampled_from(PREFIXES),
    lambda parts: st.builds("({} {} {})".format, parts, st.sampled_from(["AND", "OR", "AND NOT", ""]), parts),
    max_leaves=5,
)


def contains(clause: Clause, indexed: set[str]) -> bool:
    """Return whether a message with these terms is found by the clause."""
    prefixes = tuple(term[:-1] for term in clause if term.endswith("*"))
    others = {term for term in clause if not term.endswith("*")}
    return others <= indexed and all(any(term.startswith(prefix) for term in indexed) for prefix in prefixes)


@given(expressions, st.lists(words, min_size=1, max_size=4))
def test_the_index_finds_every_message_that_matches(expression: str, message: list[str]) -> None:
    condition = query_syntax.parse(f"{expression} AND {message[0]}").condition
    indexed = set(analyzer.terms(" ".join(message)))

    looked_up = any(contains(clause, indexed) for clause in condition.clauses({}) or [])

    assert looked_up or not condition.matches(Text.of(" ".join(message)))
