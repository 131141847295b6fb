"""Conversation summaries: of each day, of each week (from its days), and of each month (from its weeks).

A summary is a memory at `[conversation number, level, period]` in the `summaries` namespace. It links (`summarises`) to
its sources: the messages of the day, or the lower-level summaries. It stores a fingerprint of these sources and is
regenerated only if the fingerprint changes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property, partial
from itertools import islice
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from conversations import llm
from conversations.enrichment import extractive, periods
from conversations.enrichment.periods import DAILY, LEVELS, Period
from conversations.lifecycle import tiers
from conversations.llm import questions
from conversations.llm.base import ChatModel, estimated_tokens
from conversations.llm.schemas import SummaryAnswer
from conversations.lookup import find, lock, with_derived
from conversations.messages import at_turns, in_conversation, message_address, read_messages, turn_of
from conversations.models import Conversation
from graph import services as graph
from graph.services import NewLink
from memories import coordinates, embeddings
from memories import selectors as memories
from memories import services as stores
from memories.coordinates import Coordinate
from memories.index import generations
from memories.models import Memory
from memories.new_memory import NewMemory
from memories.reserved_namespaces import CONVERSATIONS, SUMMARIES
from somamemory.errors import NotFound
from somamemory.scheduling import ShouldStop
from somamemory.times import rfc3339
from tenants.caller import Caller

EXTRACTIVE = "extractive"
LINK_TYPE = "summarises"
# Maximum length of a summary in words. For a short source, the maximum is half the source's length, but at least
# `_MIN_WORDS`.
MAX_WORDS = {"daily": 60, "weekly": 80, "monthly": 110}
_MIN_WORDS = 40
MAX_MESSAGES = 10_000  # maximum number of messages per daily summary; `covers.left_out` counts the others
MAX_PROMPT_TOKENS = 24_000
_LINK_BATCH = 1_000
_READ_BATCH = 1_000


@dataclass(frozen=True)
class Summary:
    """A summary.

    `covers` contains the first and last turns and times, the days, the number of messages, and how many were left out.
    """

    conversation: Conversation
    period: Period
    text: str
    model: str
    tokens_used: int
    generated_at: str
    covers: Mapping[str, Any]
    fingerprint: str

    @property
    def coordinate(self) -> Coordinate:
        return address(self.conversation, self.period)


@dataclass(frozen=True)
class _Turn:
    number: int
    said_at: datetime


@dataclass(frozen=True)
class _Text:
    """A generated text, with the model that wrote it and the tokens used."""

    text: str
    model: str
    tokens: int


@dataclass(frozen=True)
class _Source:
    """The source of a summary: messages, or lower-level summaries (`parts`)."""

    turns: Sequence[_Turn]
    parts: Sequence[Summary]

    @cached_property
    def fingerprint(self) -> str:
        items = [part.fingerprint for part in self.parts] or [str(turn.number) for turn in self.turns]
        return hashlib.sha256("".join(f"{item}\n" for item in items).encode()).hexdigest()

    def is_covered_by(self, current: Memory, seen: Memory | None) -> bool:
        """Return whether another process has stored this summary, or one that covers later messages, in the meantime.

        seen: the stored summary when the source was read.
        """
        if current.metadata["fingerprint"] == self.fingerprint:
            return True
        is_new = seen is None or seen.version != current.version
        return is_new and bool(current.metadata["covers"]["last_turn"] > max(turn.number for turn in self.turns))

    def addresses(self, conversation: Conversation) -> Iterator[Coordinate]:
        if self.parts:
            return (part.coordinate for part in self.parts)
        return (message_address(conversation.number, turn.number) for turn in self.turns[:MAX_MESSAGES])

    def covers(self) -> dict[str, Any]:
        parts, turns = self.parts, self.turns
        left_out = sum(part.covers["left_out"] for part in parts) if parts else max(0, len(turns) - MAX_MESSAGES)
        return {
            "first_turn": min(turn.number for turn in turns),
            "last_turn": max(turn.number for turn in turns),
            "messages": len(turns),
            "left_out": left_out,
            "days": sorted({turn.said_at.date().isoformat() for turn in turns}),
            "from": rfc3339(min(turn.said_at for turn in turns)),
            "to": rfc3339(max(turn.said_at for turn in turns)),
        }


def address(conversation: Conversation, period: Period) -> Coordinate:
    """Return a summary's coordinate."""
    return coordinates.of([conversation.number, *period.numbers])


def summarize(caller: Caller, id: UUID, level: str, day: date | None = None) -> Summary:
    """Return the summary of the period that contains `day`, or of the last period with messages.

    If the summary does not exist or its source has changed, generates it and the summaries that it is based on. Must
    not be called inside a transaction, because a language model can be slow. Raises NotFound, LlmUnavailable,
    LlmBudgetExceeded.
    """
    for scope in ("read", "write"):
        caller.require(scope, [CONVERSATIONS])
    conversation = find(caller, id)
    if conversation.tier == Conversation.Tier.COLD:
        tiers.thaw(caller, id)
    roll_up = _RollUp.of(caller, conversation)
    if not roll_up.days:
        raise NotFound("the conversation has no messages yet; append some first")
    period = periods.of(level, day or max(roll_up.days))
    if not roll_up.has_messages(period):
        raise NotFound(f"the conversation has no messages for {period.name}; choose another day")
    return roll_up.summary(period)


def roll_up(
    caller: Caller, conversation: Conversation, now: datetime, should_stop: ShouldStop = lambda: False
) -> tuple[int, datetime | None]:
    """Generate all missing or outdated summaries of completed periods.

    Return the number of summaries written, and when the conversation is due again (None if it is complete).

    should_stop: checked before each summary. If it returns True, the remaining summaries are due again immediately.
    """
    work = _RollUp.of(caller, conversation)
    for level in LEVELS:
        for period in sorted({periods.of(level, day) for day in work.days}):
            if should_stop():
                return work.written, now
            if period.is_over(now):
                work.summary(period)
    ends = (periods.next_end(day, now) for day in work.days)
    return work.written, min((end for end in ends if end is not None), default=None)


class _RollUp:
    """Generates the summaries of one conversation from its turns, grouped by day."""

    def __init__(
        self,
        caller: Caller,
        conversation: Conversation,
        model: ChatModel | None,
        days: Mapping[date, Sequence[_Turn]],
        stored: dict[str, Memory],
    ) -> None:
        self.caller, self.conversation, self.model = caller, conversation, model
        self.days, self.stored = days, stored
        self.summaries: dict[Period, Summary] = {}
        self.written = 0

    @classmethod
    def of(cls, caller: Caller, conversation: Conversation) -> _RollUp:
        caller = with_derived(caller)
        days = _turns_by_day(caller, conversation)
        return cls(caller, conversation, llm.current(), days, _stored(caller, conversation))

    def has_messages(self, period: Period) -> bool:
        return any(period.first <= day < period.end for day in self.days)

    def summary(self, period: Period) -> Summary:
        """Return the summary of a period that has messages.

        If necessary, generates this summary and the lower-level summaries on which it is based.
        """
        if period not in self.summaries:
            self.summaries[period] = self._current(period)
        return self.summaries[period]

    def _current(self, period: Period) -> Summary:
        parts = [] if period.level == DAILY else [self.summary(part) for part in periods.parts(period, self.days)]
        turns = [turn for day, turns in self.days.items() if period.first <= day < period.end for turn in turns]
        source = _Source(turns, parts)
        stored = self.stored.get(address(self.conversation, period).key)
        if stored is not None and stored.metadata.get("fingerprint") == source.fingerprint:
            return _summary(self.conversation, period, stored)
        texts = _texts_of(parts) if parts else self._messages(turns)
        memory = self._store(period, source, self._generate(period, texts))
        return _summary(self.conversation, period, memory)

    def _messages(self, turns: Sequence[_Turn]) -> list[dict[str, str]]:
        numbers = [turn.number for turn in turns[:MAX_MESSAGES]]
        return [
            {"from": message.role, "text": message.text}
            for start in range(0, len(numbers), _READ_BATCH)
            for message in read_messages(at_turns(self.caller, self.conversation, numbers[start : start + _READ_BATCH]))
        ]

    def _generate(self, period: Period, texts: Sequence[Mapping[str, str]]) -> _Text:
        words = sum(extractive.word_count(text["text"]) for text in texts)
        max_words = max(_MIN_WORDS, min(MAX_WORDS[period.level], words // 2))
        if self.model is None:
            return _Text(_extract(texts, max_words), EXTRACTIVE, 0)
        data = {
            "conversation": self.conversation.label,
            "period": period.name,
            "texts": _within_prompt(texts),
        }
        answer = questions.ask(self.caller, self.model, "summarize", data, SummaryAnswer, words=max_words)
        return _Text(answer.value.summary, self.model.name, answer.tokens)

    def _store(self, period: Period, source: _Source, text: _Text) -> Memory:
        at = address(self.conversation, period)
        with transaction.atomic():
            # Lock the conversation until the commit, so that it is not deleted and the same summary is not stored
            # twice. Use the locked row, because the conversation's user may have changed since it was read.
            conversation = lock(self.caller, self.conversation.id)
            current = memories.live(self.caller, [SUMMARIES]).filter(coordinate_key=at.key).first()
            if current is not None and source.is_covered_by(current, self.stored.get(at.key)):
                return current
            memory = self._write(_new_memory(conversation, period, source, text), source)
        self.written += 1
        return memory

    def _write(self, new: NewMemory, source: _Source) -> Memory:
        """Store a summary and its links."""
        memory = stores.store_many(self.caller.writing_reserved(), [new])[0].memory
        addresses = source.addresses(self.conversation)
        link = partial(NewLink, memory.coordinate, link_type=LINK_TYPE, namespace=SUMMARIES, user_id=new.user_id)
        links = map(link, addresses)
        while batch := list(islice(links, _LINK_BATCH)):
            graph.link_many(self.caller.writing_reserved(), batch)
        return memory


def _turns_by_day(caller: Caller, conversation: Conversation) -> dict[date, list[_Turn]]:
    columns = in_conversation(caller, conversation).values_list("coordinate_key", "created_at")
    days: dict[date, list[_Turn]] = {}
    for key, said_at in columns.iterator(chunk_size=5_000):
        days.setdefault(said_at.date(), []).append(_Turn(turn_of(key), said_at))
    return days


def _stored(caller: Caller, conversation: Conversation) -> dict[str, Memory]:
    """Return the stored summaries of a conversation, keyed by their coordinate keys."""
    low, high = conversation.root.subtree
    rows = memories.live(caller, [SUMMARIES]).filter(coordinate_key__gte=low, coordinate_key__lt=high)
    return {row.coordinate_key: row for row in rows}


def _new_memory(conversation: Conversation, period: Period, source: _Source, text: _Text) -> NewMemory:
    return NewMemory(
        coordinate=address(conversation, period),
        namespace=SUMMARIES,
        memory_type=Memory.Type.SEMANTIC,
        payload={
            "summary": text.text,
            "level": period.level,
            "period": period.name,
            "conversation_id": str(conversation.id),
            "model": text.model,
        },
        metadata={
            "fingerprint": source.fingerprint,
            "tokens_used": text.tokens,
            "generated_at": rfc3339(timezone.now()),
            "covers": source.covers(),
        },
        created_at=source.turns[-1].said_at,
        **conversation.ids,
    )


def _extract(
    texts: Sequence[Mapping[str, str]], max_length: int, length: Callable[[str], int] = extractive.word_count
) -> str:
    """Return the most informative sentences, one per line."""
    all_sentences = (sentence for text in texts for sentence in extractive.sentences(text["text"]))
    sentences = list(islice(all_sentences, extractive.MAX_SENTENCES))
    if not sentences:  # for example, if the text is one long table
        return texts[0]["text"][: extractive.MAX_SENTENCE_LENGTH].strip() if texts else ""
    vectors = embeddings.of(generations.active()).embed(sentences)
    return "\n".join(sentences[index] for index in extractive.select(sentences, vectors, max_length, length))


def _within_prompt(texts: Sequence[Mapping[str, str]]) -> Sequence[Mapping[str, str]]:
    """Return the texts, or their most informative sentences if the texts are too long for a prompt."""
    total = sum(estimated_tokens(text["text"]) + 10 for text in texts)
    if total <= MAX_PROMPT_TOKENS:
        return texts
    return [{"from": "extract", "text": _extract(texts, MAX_PROMPT_TOKENS, estimated_tokens)}]


def _texts_of(parts: Sequence[Summary]) -> list[dict[str, str]]:
    return [{"from": part.period.name, "text": part.text} for part in parts]


def _summary(conversation: Conversation, period: Period, memory: Memory) -> Summary:
    return Summary(
        conversation=conversation,
        period=period,
        text=memory.payload["summary"],
        model=memory.payload["model"],
        tokens_used=memory.metadata["tokens_used"],
        generated_at=memory.metadata["generated_at"],
        covers=memory.metadata["covers"],
        fingerprint=memory.metadata["fingerprint"],
    )
