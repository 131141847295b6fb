"""Filters on messages: the grammar of `memories.filters`, extended with fields of the message's conversation.

    {"folder": "/work", "status": {"ne": "archived"}, "role": "user", "timestamp": {"gte": "2026-01-01T00:00:00Z"}}

Fields of the conversation: `label`, `folder` (including subfolders), `status`, `conversation_id` and
`conversation_importance`.
Fields of the message: `role`, `content`, `timestamp`, `importance` and `metadata.…`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from uuid import UUID

from django.db.models import Exists, OuterRef, Q, Value
from django.db.models.functions import StrIndex, Substr
from django.db.models.lookups import GreaterThan

from conversations import folders
from conversations.models import Conversation
from conversations.query import in_folder
from memories import filters
from memories.coordinates import DIGITS_PER_NUMBER
from memories.filters import And, Filter, Given, Leaf
from memories.filters.numbers import numbers_in
from somamemory.errors import InvalidInput
from tenants.models import Tenant

_OF_MESSAGES = ("role", "content")
_OPERATORS = {
    "label": ("eq", "ne", "in", "nin", "contains", "icontains", "exists"),
    "folder": ("eq", "ne", "in", "nin", "exists"),
    "status": ("eq", "ne", "in", "nin"),
    "conversation_id": ("eq", "ne", "in", "nin"),
    "conversation_importance": ("eq", "ne", "in", "nin", "gt", "gte", "lt", "lte"),
}

# The operators for numbers, and Django's names for them.
_COMPARISONS = {"eq": "exact", "in": "in", "gt": "gt", "gte": "gte", "lt": "lt", "lte": "lte"}


@dataclass(frozen=True)
class Condition:
    """Two conditions that must both hold: one on Conversation and one on Memory. None means no condition."""

    conversation: Q | None = None
    message: Q | None = None
    names_archived: bool = False  # whether the filters contain a status or conversation ids


def translate(tenant: Tenant, raw: object) -> Condition:
    """Translate a request's filters into conditions. Raises InvalidInput if the filters are not valid."""
    parsed = filters.parse(raw)
    parts = parsed.parts if isinstance(parsed, And) else (parsed,)
    condition = Condition(names_archived=any(map(_names_archived, parts)))
    for part in parts:
        if _only_conversations(part):
            condition = replace(condition, conversation=_both(condition.conversation, _on_conversation(part)))
        else:
            condition = replace(condition, message=_both(condition.message, _on_message(tenant, part)))
    return condition


def in_conversations(tenant: Tenant, condition: Q) -> Q:
    """Turn a condition on conversations into a condition on their messages (or summaries)."""
    number = Substr(OuterRef("coordinate_key"), 1, DIGITS_PER_NUMBER)
    return Q(Exists(Conversation.objects.for_tenant(tenant).filter(condition, key=number)))


def _both(one: Q | None, other: Q) -> Q:
    return other if one is None else one & other


def _field(leaf: Leaf) -> str:
    """Return the field name that callers use. Names in `_OPERATORS` are fields of the conversation."""
    return ".".join(leaf.path) if leaf.column == "payload" else leaf.column


def _only_conversations(part: Filter) -> bool:
    return all(_field(leaf) in _OPERATORS for leaf in filters.leaves(part))


def _names_archived(part: Filter) -> bool:
    return any(_field(leaf) in ("status", "conversation_id") for leaf in filters.leaves(part))


def _on_conversation(part: Filter) -> Q:
    return filters.to_q(filters.replaced(part, lambda leaf: Given(_conversation_leaf(leaf))))


def _on_message(tenant: Tenant, part: Filter) -> Q:
    def of_message(leaf: Leaf) -> Filter:
        if _field(leaf) in _OPERATORS:
            return Given(in_conversations(tenant, _conversation_leaf(leaf)))
        return _message_leaf(leaf)

    return filters.to_q(filters.replaced(part, of_message))


def _message_leaf(leaf: Leaf) -> Filter:
    if leaf.column != "payload" or leaf.path in [(name,) for name in _OF_MESSAGES]:
        return leaf
    if leaf.path == ("timestamp",):
        # A message's time is the creation time of its memory, so parse the operand again as a time.
        try:
            return filters.parse({"created_at": {leaf.operator: _plain(leaf.operand)}})
        except InvalidInput as error:
            [(at, message)] = error.fields.items()
            raise InvalidInput(
                at.replace("created_at", "timestamp"), message.replace("created_at", "timestamp")
            ) from None
    known = ", ".join([*_OPERATORS, *_OF_MESSAGES, "timestamp", "importance", "metadata.<field>"])
    raise InvalidInput(f"filters.{_field(leaf)}"[:200], f"is not a message field; use one of {known}")


def _plain(operand: object) -> object:
    return list(operand) if isinstance(operand, tuple) else operand


def _conversation_leaf(leaf: Leaf) -> Q:
    name = _field(leaf)
    at = f"filters.{name}"
    if leaf.operator not in _OPERATORS[name]:
        raise InvalidInput(
            at, f"does not support the '{leaf.operator}' operator; use one of {', '.join(_OPERATORS[name])}"
        )
    if leaf.operator == "exists":
        return ~Q((name, "")) if leaf.operand else Q((name, ""))
    if leaf.operator in ("ne", "nin"):
        other = ~_conversation_leaf(replace(leaf, operator={"ne": "eq", "nin": "in"}[leaf.operator]))
        # As in every filter, a missing value matches no operator except `exists`.
        return other & ~Q((name, "")) if name in ("label", "folder") else other
    if name == "conversation_importance":
        return Q((f"importance__{_COMPARISONS[leaf.operator]}", _number_or_numbers(leaf, at)))
    texts = [_text(value, at) for value in (leaf.operand if isinstance(leaf.operand, tuple) else (leaf.operand,))]
    if leaf.operator == "contains":
        return Q(GreaterThan(StrIndex("label", Value(texts[0])), 0))
    if leaf.operator == "icontains":
        return Q(GreaterThan(StrIndex("folded_label", Value(filters.fold(texts[0]))), 0))
    return _one_of(name, texts, at)


def _number_or_numbers(leaf: Leaf, at: str) -> object:
    operands = leaf.operand if isinstance(leaf.operand, tuple) else (leaf.operand,)
    numbers = numbers_in(operands)
    if len(numbers) < len(operands):
        raise InvalidInput(
            at, "must be a number from 0 to 10 or, for the operators 'in' and 'nin', a list of such numbers"
        )
    return numbers if leaf.operator == "in" else numbers[0]


def _one_of(name: str, texts: list[str], at: str) -> Q:
    if name == "folder":
        for text in texts:
            if problem := folders.problem(text):
                raise InvalidInput(at, problem)
        return in_folder(*texts)
    if name == "status":
        unknown = set(texts) - set(Conversation.Status.values)
        if unknown:
            raise InvalidInput(at, f"must be one of {', '.join(Conversation.Status.values)}")
    if name == "conversation_id":
        return Q(id__among=[_id(text, at) for text in texts])
    return Q((f"{name}__in", texts))


def _text(value: object, at: str) -> str:
    if value is None:
        return ""  # no label or folder
    if not isinstance(value, str):
        raise InvalidInput(at, "must be a string")
    return value


def _id(text: str, at: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise InvalidInput(at, "must be a conversation id (a UUID)") from None
