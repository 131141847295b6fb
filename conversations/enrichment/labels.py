"""Label suggestions: what similar conversations are filed under, and what this one talks about."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from conversations import llm
from conversations.enrichment import key_phrases
from conversations.lifecycle import tiers
from conversations.llm import questions
from conversations.llm.base import ChatModel, estimated_tokens
from conversations.llm.schemas import LabelsAnswer
from conversations.models import Conversation
from conversations.search.semantic import search_messages
from memories import coordinates, embeddings, filters
from memories import selectors as memories
from memories.index import generations
from memories.reserved_namespaces import CONVERSATIONS
from memories.search import lexical
from somamemory.errors import NotFound
from tenants.caller import Caller

KEY_PHRASES = "key-phrases"
MOST = 5
_SAMPLED = 200  # messages from the beginning, and as many from the end
_NEIGHBOURS = 50
_EXISTING = 200  # conversations whose labels a model is told
MAX_PROMPT_TOKENS = 8_000


@dataclass(frozen=True)
class Suggestion:
    """`confidence` in [0, 1]."""

    label: str
    confidence: float
    is_existing: bool
    reason: str


@dataclass(frozen=True)
class Suggested:
    conversation: Conversation
    suggestions: Sequence[Suggestion]
    model: str


def suggest(caller: Caller, id: UUID) -> Suggested:
    """At most five labels, the best first; nothing is changed. Never inside a transaction.

    Raises NotFound, LlmUnavailable, LlmBudgetExceeded.
    """
    caller.require("read", [CONVERSATIONS])
    conversation = Conversation.objects.for_tenant(caller.tenant).filter(id=id).first()
    if conversation is None:
        raise NotFound(f"no conversation {id}")
    said = _sample(caller, conversation)
    model = llm.current()
    if not said:
        return Suggested(conversation, [], model.name if model else KEY_PHRASES)
    if model is not None:
        return Suggested(conversation, _asked(caller, model, said), model.name)
    found = _by_phrases(caller, conversation, said)
    return Suggested(conversation, found, KEY_PHRASES)


def _by_phrases(caller: Caller, conversation: Conversation, said: Sequence[str]) -> list[Suggestion]:
    embedder = embeddings.of(generations.active())
    found = key_phrases.key_phrases(said, embedder.embed, lambda terms: _rarity(caller, terms), 2 * MOST)
    if not found:
        return []
    labels = _existing(caller, [phrase.words for phrase in found])
    suggestions = _by_neighbours(caller, conversation, " ".join(phrase.words for phrase in found))
    for phrase in found:
        label = labels.get(filters.fold(phrase.words))
        suggestions.append(
            Suggestion(
                label or phrase.words.lower(),
                round(phrase.score, 4),
                label is not None,
                f"it is said {phrase.count} times" if phrase.count > 1 else "it is said here",
            )
        )
    return _best(suggestions)


def _by_neighbours(caller: Caller, conversation: Conversation, words: str) -> list[Suggestion]:
    """The labels of conversations that a search for the key phrases finds."""
    votes: dict[str, float] = defaultdict(float)
    filed: dict[str, set[UUID]] = defaultdict(set)
    hits = search_messages(caller, words, limit=_NEIGHBOURS).hits
    others = [hit for hit in hits if hit.conversation.id != conversation.id and hit.conversation.label]
    for hit in others:
        votes[hit.conversation.label] += hit.score
        filed[hit.conversation.label].add(hit.conversation.id)
    most = sum(hit.score for hit in hits)
    return [
        Suggestion(label, round(min(vote / most, 1.0), 4), True, f"like {len(filed[label])} of its conversations")
        for label, vote in votes.items()
    ]


def _best(suggestions: Sequence[Suggestion]) -> list[Suggestion]:
    """Each label once; of two with the same confidence the one that exists."""
    ranked = sorted(suggestions, key=lambda each: (-each.confidence, not each.is_existing, each.label))
    distinct: dict[str, Suggestion] = {}
    for each in ranked:
        distinct.setdefault(filters.fold(each.label), each)
    return list(distinct.values())[:MOST]


def _asked(caller: Caller, model: ChatModel, said: Sequence[str]) -> list[Suggestion]:
    recent = Conversation.objects.for_tenant(caller.tenant).exclude(label="").order_by("-updated_at", "-number")
    known = list(dict.fromkeys(recent.values_list("label", flat=True)[:_EXISTING]))
    data = {"existing_labels": known, "messages": _within(said, MAX_PROMPT_TOKENS)}
    answer = questions.ask(caller, model, "labels", data, LabelsAnswer)
    labels = _existing(caller, [each.label for each in answer.value.labels])
    return _best(
        [
            Suggestion(
                labels.get(filters.fold(each.label), each.label),
                each.confidence,
                filters.fold(each.label) in labels,
                each.reason,
            )
            for each in answer.value.labels
        ]
    )


def _existing(caller: Caller, wanted: Sequence[str]) -> Mapping[str, str]:
    """Those of these labels that are in use, by their folded form: as they stand here, or in the usual other cases."""
    ways = {way for each in wanted for way in (each, each.lower(), each.capitalize(), each.title(), each.upper())}
    rows = Conversation.objects.for_tenant(caller.tenant).filter(label__in=sorted(ways))
    return {filters.fold(label): label for label in sorted(rows.values_list("label", flat=True).distinct())}


def _rarity(caller: Caller, terms: Sequence[str]) -> Mapping[str, float]:
    """How few of the tenant's messages hold a term: 1 for hardly any, 0 for all."""
    stats = lexical.statistics(caller.tenant, [CONVERSATIONS], terms)
    documents = max(stats.documents, 1)
    return {term: 1 - min(stats.frequency.get(term, 0) / documents, 1.0) for term in terms}


def _sample(caller: Caller, conversation: Conversation) -> list[str]:
    """What was said at the beginning and in the end."""
    number, last = conversation.number, conversation.last_turn
    ends = {
        turn for start in (1, max(1, last - _SAMPLED + 1)) for turn in range(start, min(start + _SAMPLED, last + 1))
    }
    keys = [coordinates.encode([number, turn]) for turn in sorted(ends)]
    payloads: Iterable[Any]
    if conversation.tier == Conversation.Tier.COLD and (kept := tiers.read(caller, conversation)) is not None:
        payloads = (row.payload for row in kept if row.coordinate_key in set(keys))
    else:
        rows = memories.live(caller, [CONVERSATIONS]).filter(coordinate_key__in=keys).order_by("coordinate_key")
        payloads = rows.values_list("payload", flat=True)
    return [str(payload.get("content", ""))[:4_000] for payload in payloads]


def _within(said: Sequence[str], most_tokens: int) -> list[str]:
    """As many messages from the beginning as fit; each of them is short enough by itself."""
    kept: list[str] = []
    for text in said:
        most_tokens -= estimated_tokens(text) + 4
        if most_tokens < 0:
            break
        kept.append(text)
    return kept
