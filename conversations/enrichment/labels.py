"""Label suggestions, based on the labels of similar conversations, key phrases, or a language model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from conversations import llm
from conversations.enrichment import key_phrases
from conversations.lifecycle import tiers
from conversations.llm import questions
from conversations.llm.base import ChatModel, estimated_tokens
from conversations.llm.schemas import LabelsAnswer
from conversations.lookup import find
from conversations.messages import Message, at_turns, read_messages
from conversations.models import MAX_LABEL_LENGTH, Conversation
from conversations.search.semantic import search_messages
from memories import embeddings, filters
from memories.index import generations
from memories.reserved_namespaces import CONVERSATIONS
from memories.search.statistics import statistics
from tenants.caller import Caller

KEY_PHRASES = "key-phrases"
MAX_SUGGESTIONS = 5
_SAMPLE = 200  # maximum number of messages to read from the beginning of a conversation, and from its end
_SAMPLE_CHARACTERS = 4_000  # maximum length of each message
_NEIGHBOURS = 50
_EXISTING = 200  # number of conversations whose labels are listed in a prompt
MAX_PROMPT_TOKENS = 8_000


@dataclass(frozen=True)
class Suggestion:
    """A suggested label. `confidence` is in [0, 1]."""

    label: str
    confidence: float
    is_existing: bool
    reason: str


@dataclass(frozen=True)
class Suggestions:
    conversation: Conversation
    suggestions: Sequence[Suggestion]
    model: str


def suggest(caller: Caller, id: UUID) -> Suggestions:
    """Return at most five suggested labels, best first, without changing the conversation.

    Considers only the labels of the conversation's user, because other users' labels may reveal what those users talk
    about. Must not be called inside a transaction. Raises NotFound, LlmUnavailable, LlmBudgetExceeded.
    """
    caller.require("read", [CONVERSATIONS])
    conversation = find(caller, id)
    caller = replace(caller, tenant=caller.tenant.narrowed_to(conversation.user_id))
    texts = _sample(caller, conversation)
    model = llm.current()
    if not texts:
        return Suggestions(conversation, [], model.name if model else KEY_PHRASES)
    if model is not None:
        return Suggestions(conversation, _from_model(caller, model, texts), model.name)
    return Suggestions(conversation, _from_phrases(caller, conversation, texts), KEY_PHRASES)


def _from_phrases(caller: Caller, conversation: Conversation, texts: Sequence[str]) -> list[Suggestion]:
    embedder = embeddings.of(generations.active())
    found = key_phrases.key_phrases(texts, embedder.embed, lambda terms: _rarity(caller, terms), 2 * MAX_SUGGESTIONS)
    phrases = [phrase for phrase in found if len(phrase.words.lower()) <= MAX_LABEL_LENGTH]
    if not phrases:
        return []
    labels = _existing(caller, [phrase.words for phrase in phrases])
    suggestions = _from_neighbours(caller, conversation, " ".join(phrase.words for phrase in phrases))
    for phrase in phrases:
        label = labels.get(filters.fold(phrase.words))
        reason = f"occurs {phrase.count} times" if phrase.count > 1 else "occurs in the conversation"
        suggestions.append(Suggestion(label or phrase.words.lower(), round(phrase.score, 4), label is not None, reason))
    return _best(suggestions)


def _from_neighbours(caller: Caller, conversation: Conversation, words: str) -> list[Suggestion]:
    """Return the labels of conversations that are found by a search for the key phrases."""
    votes: dict[str, float] = defaultdict(float)
    labelled: dict[str, set[UUID]] = defaultdict(set)
    hits = search_messages(caller, words, limit=_NEIGHBOURS).hits
    others = [hit for hit in hits if hit.conversation.id != conversation.id and hit.conversation.label]
    for hit in others:
        votes[hit.conversation.label] += hit.score
        labelled[hit.conversation.label].add(hit.conversation.id)
    total = sum(hit.score for hit in hits)
    return [
        Suggestion(
            label, round(min(vote / total, 1.0), 4), True, f"used by {len(labelled[label])} similar conversations"
        )
        for label, vote in votes.items()
    ]


def _best(suggestions: Sequence[Suggestion]) -> list[Suggestion]:
    """Return the best suggestions, each label once, highest confidence first.

    If the confidence is equal, labels that are already in use come first.
    """
    ranked = sorted(suggestions, key=lambda item: (-item.confidence, not item.is_existing, item.label))
    distinct: dict[str, Suggestion] = {}
    for suggestion in ranked:
        distinct.setdefault(filters.fold(suggestion.label), suggestion)
    return list(distinct.values())[:MAX_SUGGESTIONS]


def _from_model(caller: Caller, model: ChatModel, texts: Sequence[str]) -> list[Suggestion]:
    recent = Conversation.objects.for_tenant(caller.tenant).exclude(label="").order_by("-updated_at", "-number")
    known = list(dict.fromkeys(recent.values_list("label", flat=True)[:_EXISTING]))
    data = {"existing_labels": known, "messages": _within(texts, MAX_PROMPT_TOKENS)}
    answers = questions.ask(caller, model, "labels", data, LabelsAnswer).value.labels
    labels = _existing(caller, [answer.label for answer in answers])
    return _best(
        [
            Suggestion(
                labels.get(filters.fold(answer.label), answer.label),
                answer.confidence,
                filters.fold(answer.label) in labels,
                answer.reason,
            )
            for answer in answers
        ]
    )


def _existing(caller: Caller, labels: Sequence[str]) -> Mapping[str, str]:
    """For each given label that is already in use, map its case-folded form to the existing spelling.

    Finds the given spelling and common variants in upper and lower case.
    """
    spellings = {
        spelling
        for label in labels
        for spelling in (label, label.lower(), label.capitalize(), label.title(), label.upper())
    }
    rows = Conversation.objects.for_tenant(caller.tenant).filter(label__in=sorted(spellings))
    return {filters.fold(label): label for label in sorted(rows.values_list("label", flat=True).distinct())}


def _rarity(caller: Caller, terms: Sequence[str]) -> Mapping[str, float]:
    """Return the fraction of the tenant's messages that lack each term: near 1 if it is rare, 0 if all contain it."""
    stats = statistics(caller.tenant, [CONVERSATIONS], terms)
    documents = max(stats.documents, 1)
    return {term: 1 - min(stats.frequency.get(term, 0) / documents, 1.0) for term in terms}


def _sample(caller: Caller, conversation: Conversation) -> list[str]:
    """Return the texts of the first and the last messages."""
    last = conversation.last_turn
    turns = {turn for start in (1, max(1, last - _SAMPLE + 1)) for turn in range(start, min(start + _SAMPLE, last + 1))}
    messages: Iterable[Message]
    if conversation.tier == Conversation.Tier.COLD and (cold := tiers.read(caller, conversation)) is not None:
        messages = (message for message in map(Message.of, cold) if message.turn in turns)
    else:
        messages = read_messages(at_turns(caller, conversation, sorted(turns)))
    return [message.text[:_SAMPLE_CHARACTERS] for message in messages]


def _within(texts: Sequence[str], max_tokens: int) -> list[str]:
    """Return the first texts, as many as fit."""
    fitting: list[str] = []
    for text in texts:
        max_tokens -= estimated_tokens(text) + 4
        if max_tokens < 0:
            break
        fitting.append(text)
    return fitting
