"""Search and context options, as form controls. Pure functions.

The page's URL contains the values. `body` turns them into the JSON body of the API request, which contains only the
options that differ from the API's defaults.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.http import QueryDict

from somamemory.errors import InvalidInput

TEXT, NUMBER, RANGE, FLAG, CHOICE, WORDS, JSON, NAMES = (
    "text", "number", "range", "flag", "choice", "words", "json", "names",
)  # fmt: skip


@dataclass(frozen=True)
class Option:
    """One option. `name` is the field of the request, with dots between the names of nested fields.

    kind: the type of the control. `words` is a list separated by commas; `names` is a choice of namespaces.
    default: the value that an empty field stands for. It is shown, but left out of the request.
    """

    name: str
    label: str
    kind: str = TEXT
    default: str = ""
    choices: Sequence[str] = ()
    low: str = "0"
    high: str = "1"
    empty: str = "any"  # the text shown for the empty choice


@dataclass(frozen=True)
class Control:
    """An option with its value on the page. `field` is its parameter in the URL."""

    option: Option
    field: str
    values: Sequence[str]
    choices: Sequence[str]

    @property
    def value(self) -> str:
        return self.values[0] if self.values else self.option.default

    @property
    def is_changed(self) -> bool:
        return bool(self.values) and list(self.values) != [self.option.default]


_COMMON = (
    Option("filters", "Filters", JSON),
    Option("user_id", "User"),
    Option("agent_id", "Agent"),
    Option("session_id", "Session"),
    Option("include_archived", "Include archived", FLAG),
    Option("as_of", "As of (time)", TEXT),
)
SEARCH = (
    Option("namespace", "Namespaces", NAMES, "default"),
    Option("mode", "Mode", CHOICE, "hybrid", ("hybrid", "semantic", "keyword")),
    Option("top_k", "Results", NUMBER, "10", low="1", high="200"),
    Option("offset", "Skip", NUMBER, "0", high="10000"),
    Option("weights.semantic", "Semantic weight", NUMBER),
    Option("weights.keyword", "Keyword weight", NUMBER),
    Option("weights.recency", "Recency weight", NUMBER),
    Option("weights.importance", "Importance weight", NUMBER),
    Option("min_score", "Minimum score", NUMBER, "0"),
    Option("min_relevance", "Minimum relevance", NUMBER, "0"),
    Option("expand.hops", "Follow links (hops)", CHOICE, "", ("", "1", "2", "3"), empty="none"),
    Option("expand.link_type", "Link types"),
    Option("expand.weight", "Link weight", NUMBER),
    Option("memory_type", "Type", CHOICE, "", ("", "episodic", "semantic")),
    Option("prefix", "Below coordinate"),
    Option("near", "Near coordinate"),
    Option("radius", "Radius", NUMBER, high="1e100"),
    Option("key_prefix", "Keys that begin with"),
    Option("namespace_prefix", "Namespaces that begin with"),
    Option("valid_at", "Valid at (time)"),
    Option("include_superseded", "Include superseded", FLAG),
    Option("consistency", "Consistency", CHOICE, "eventual", ("eventual", "strong")),
    *_COMMON,
)
CONTEXT = (
    Option("context_budget", "Budget in tokens", RANGE, "4000", low="100", high="16000"),
    Option("namespaces", "Memories from namespaces", NAMES),
    Option("order", "Order", CHOICE, "relevance", ("relevance", "chronological")),
    Option("min_relevance", "Minimum relevance", NUMBER),
    Option("truncate", "Truncate the last message", FLAG),
    Option("folder", "Only in folder"),
    Option("excluded_folders", "Exclude folders", WORDS),
    Option("preferred_labels", "Preferred labels", WORDS),
    Option("conversation_id", "Conversation ID"),
    Option("exclude_current_session", "Exclude this session", FLAG),
    *_COMMON,
)
# Playground defaults that differ from the API's
_SENT = {"top_k": "10"}


def controls(options: Iterable[Option], given: QueryDict, prefix: str, namespaces: Sequence[str]) -> list[Control]:
    """Return the options with the values in the URL. `prefix` distinguishes the two settings."""
    return [
        Control(
            option,
            f"{prefix}{option.name}",
            [value.strip() for value in given.getlist(f"{prefix}{option.name}") if value.strip()],
            namespaces if option.kind == NAMES else option.choices,
        )
        for option in options
    ]


def body(query: str, controls: Iterable[Control]) -> dict[str, Any]:
    """Return the request body. Raises InvalidInput for filters that are not JSON."""
    result: dict[str, Any] = {"query": query}
    for control in controls:
        name = control.option.name
        if not control.is_changed and name not in _SENT:
            continue
        outer, _, inner = name.rpartition(".")
        target = result.setdefault(outer, {}) if outer else result
        target[inner] = _value(control)
    if set(result.get("expand", ())) and "hops" not in result["expand"]:
        raise InvalidInput("expand", "requires a number of hops; choose how many links to follow")
    return result


def _value(control: Control) -> Any:
    kind, text = control.option.kind, control.value
    if kind == NAMES:
        return list(control.values) if len(control.values) > 1 or control.option.name != "namespace" else text
    if kind == FLAG:
        return True
    if kind == WORDS:
        return [word.strip() for word in text.split(",") if word.strip()]
    if kind == JSON:
        return _parsed(control.option.name, text)
    if kind in (NUMBER, RANGE) or control.option.name == "expand.hops":
        return _number(text)
    return text


def _number(text: str) -> int | float | str:
    """Return the number that a text represents or, if it is not a number, the text itself, which the schema rejects."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _parsed(name: str, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise InvalidInput(name, 'must be a JSON object, such as {"city": "Bern"}') from None
