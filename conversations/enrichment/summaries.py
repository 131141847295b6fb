"""Summaries of conversations: of each day, of each week from its days, of each month from its weeks.

A summary is a memory at `[conversation number, level, period]` in the namespace `summaries`, linked (`summarises`) to
what it covers: to the summaries below it, a day's to its messages. (An address of two numbers there is a message's,
which itself lies in `conversations`.) It carries a fingerprint of its source, and is made anew only when that changes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
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
from conversations.llm.base import estimated_tokens
from conversations.llm.schemas import SummaryAnswer
from conversations.lookup import with_derived
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
from somamemory.times import rfc3339
from tenants.caller import Caller

EXTRACTIVE = "extractive"
LINK_TYPE = "summarises"
# Words of a summary at most; where its source is short, half of it, and where it is very short, all that fits.
MOST_WORDS = {"daily": 60, "weekly": 80, "monthly": 110}
_LEAST_WORDS = 40
MAX_MESSAGES = 10_000  # of one day; `covers.left_out` says how many more there were
MAX_PROMPT_TOKENS = 24_000
_LINKS_AT_ONCE = 1_000


@dataclass(frozen=True)
class Summary:
    """`covers`: first and last turn and moment, how many messages, how many of them were left out, and which days."""

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
        return coordinates.of([self.conversation.number, *self.period.numbers])


@dataclass(frozen=True)
class _Turn:
    number: int
    said_at: datetime


def summarize(caller: Caller, id: UUID, level: str, day: date | None = None) -> Summary:
    """The summary of a conversation's last period that holds messages, or of that which holds `day`.

    It is made if it is not there, or if its source has changed; so are the summaries it is made of. Never inside a
    transaction: a language model may take its time. Raises NotFound, LlmUnavailable, LlmBudgetExceeded.
    """
    for scope in ("read", "write"):
        caller.require(scope, [CONVERSATIONS])
    conversation = Conversation.objects.for_tenant(caller.tenant).filter(id=id).first()
    if conversation is None:
        raise NotFound(f"no conversation {id}")
    if conversation.tier == Conversation.Tier.COLD:
        tiers.thaw(caller, id)
    rolling = _Rolling(caller, conversation)
    if not rolling.days:
        raise NotFound("the conversation has no messages yet")
    period = periods.of(level, day or max(rolling.days))
    if not rolling.holds(period):
        raise NotFound(f"the conversation has no messages in {period.name}")
    return rolling.made(period)


def never() -> bool:
    return False


def roll_up(
    caller: Caller, conversation: Conversation, now: datetime, enough: Callable[[], bool] = never
) -> tuple[int, datetime | None]:
    """Make every summary of a period that is over and has changed: how many, and when the next period will be over.

    enough: asked before each; what is left then is due at once.
    """
    rolling = _Rolling(caller, conversation)
    for level in LEVELS:
        for period in sorted({periods.of(level, day) for day in rolling.days}):
            if enough():
                return rolling.written, now
            if period.is_over(now):
                rolling.made(period)
    ends = (periods.next_end(day, now) for day in rolling.days)
    return rolling.written, min((end for end in ends if end is not None), default=None)


class _Rolling:
    """One conversation's turns by day, and its summaries as they are."""

    def __init__(self, caller: Caller, conversation: Conversation) -> None:
        self.caller = with_derived(caller)
        self.conversation = conversation
        self.model = llm.current()
        self.written = 0
        self.days = self._days()
        self._known = self._stored()

    def holds(self, period: Period) -> bool:
        return any(period.first <= day < period.end for day in self.days)

    def made(self, period: Period) -> Summary:
        """The summary of a period that holds messages, made if need be, those below it first."""
        parts = [] if period.level == DAILY else [self.made(each) for each in periods.parts(period, self.days)]
        turns = [turn for day, turns in self.days.items() if period.first <= day < period.end for turn in turns]
        fingerprint = _fingerprint([part.fingerprint for part in parts] or turns)
        known = self._known.get(self._address(period).key)
        if known is not None and known.metadata.get("fingerprint") == fingerprint:
            return _summary(self.conversation, period, known)
        texts = _of_parts(parts) if parts else self._said(turns)
        text, model, tokens = self._text(period, texts)
        memory = self._store(period, fingerprint, text, model, tokens, turns, parts)
        return _summary(self.conversation, period, memory)

    def _days(self) -> dict[date, list[_Turn]]:
        low, high = self.conversation.root.subtree
        rows = memories.live(self.caller, [CONVERSATIONS]).filter(coordinate_key__gte=low, coordinate_key__lt=high)
        columns = rows.order_by("coordinate_key").values_list("coordinate_key", "created_at")
        days: dict[date, list[_Turn]] = {}
        for key, said_at in columns.iterator(chunk_size=5_000):
            turn = _Turn(int(coordinates.decode(key)[1]), said_at)
            days.setdefault(said_at.date(), []).append(turn)
        return days

    def _stored(self) -> dict[str, Memory]:
        low, high = self.conversation.root.subtree
        rows = memories.live(self.caller, [SUMMARIES]).filter(coordinate_key__gte=low, coordinate_key__lt=high)
        return {row.coordinate_key: row for row in rows}

    def _address(self, period: Period) -> Coordinate:
        return coordinates.of([self.conversation.number, *period.numbers])

    def _said(self, turns: Sequence[_Turn]) -> list[dict[str, str]]:
        """The messages of a day."""
        keys = [coordinates.encode([self.conversation.number, turn.number]) for turn in turns[:MAX_MESSAGES]]
        texts = []
        for start in range(0, len(keys), 1_000):
            rows = memories.live(self.caller, [CONVERSATIONS]).filter(coordinate_key__in=keys[start : start + 1_000])
            for payload in rows.order_by("coordinate_key").values_list("payload", flat=True):
                texts.append({"from": str(payload.get("role", "")), "text": str(payload.get("content", ""))})
        return texts

    def _text(self, period: Period, texts: Sequence[Mapping[str, str]]) -> tuple[str, str, int]:
        """The summary, who made it, and the tokens that took."""
        words = sum(len(each["text"].split()) for each in texts)
        most = max(_LEAST_WORDS, min(MOST_WORDS[period.level], words // 2))
        if self.model is None:
            return _extract(texts, most), EXTRACTIVE, 0
        data = {
            "conversation": self.conversation.label,
            "period": period.name,
            "texts": _within_prompt(texts),
        }
        answer = questions.ask(self.caller, self.model, "summarize", data, SummaryAnswer, words=most)
        return answer.value.summary, self.model.name, answer.tokens

    def _hold(self) -> None:
        """Nobody deletes the conversation, or makes the same summary, until this transaction has ended."""
        mine = Conversation.objects.for_tenant(self.caller.tenant).filter(id=self.conversation.id)
        if mine.select_for_update(no_key=True).values_list("id").first() is None:
            raise NotFound(f"no conversation {self.conversation.id}")

    def _store(
        self,
        period: Period,
        fingerprint: str,
        text: str,
        model: str,
        tokens: int,
        turns: Sequence[_Turn],
        parts: Sequence[Summary],
    ) -> Memory:
        address = self._address(period)
        with transaction.atomic():
            self._hold()
            current = memories.live(self.caller, [SUMMARIES]).filter(coordinate_key=address.key).first()
            if current is not None and current.metadata.get("fingerprint") == fingerprint:
                return current  # somebody else has made it meanwhile
            new = NewMemory(
                coordinate=address,
                namespace=SUMMARIES,
                memory_type=Memory.Type.SEMANTIC,
                payload={
                    "summary": text,
                    "level": period.level,
                    "period": period.name,
                    "conversation_id": str(self.conversation.id),
                    "model": model,
                },
                metadata={
                    "fingerprint": fingerprint,
                    "tokens_used": tokens,
                    "generated_at": rfc3339(timezone.now()),
                    "covers": _covers(turns, parts),
                },
                created_at=turns[-1].said_at,
            )
            memory = stores.store_many(self.caller, [new], as_keeper=True)[0].memory
            below = [self._address(part.period) for part in parts] or [
                coordinates.of([self.conversation.number, turn.number]) for turn in turns[:MAX_MESSAGES]
            ]
            links = iter(NewLink(address, each, LINK_TYPE, namespace=SUMMARIES) for each in below)
            while batch := list(islice(links, _LINKS_AT_ONCE)):
                graph.link_many(self.caller, batch)
        self._known[address.key] = memory
        self.written += 1
        return memory


def _extract(texts: Sequence[Mapping[str, str]], most_words: int) -> str:
    """The sentences that say most, a line each."""
    lines = list(
        islice((line for each in texts for line in extractive.sentences(each["text"])), extractive.MAX_SENTENCES)
    )
    if not lines:  # one long table
        return texts[0]["text"][: extractive.MAX_SENTENCE_LENGTH].strip() if texts else ""
    vectors = embeddings.of(generations.active()).embed(lines)
    return "\n".join(lines[at] for at in extractive.chosen(lines, vectors, most_words))


def _within_prompt(texts: Sequence[Mapping[str, str]]) -> Sequence[Mapping[str, str]]:
    """All of it, or where that is too long for a prompt, the sentences that say most of it."""
    total = sum(estimated_tokens(each["text"]) + 10 for each in texts)
    if total <= MAX_PROMPT_TOKENS:
        return texts
    return [{"from": "extract", "text": _extract(texts, MAX_PROMPT_TOKENS // 2)}]


def _of_parts(parts: Sequence[Summary]) -> list[dict[str, str]]:
    return [{"from": part.period.name, "text": part.text} for part in parts]


def _covers(turns: Sequence[_Turn], parts: Sequence[Summary]) -> dict[str, Any]:
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


def _fingerprint(source: Iterable[str | _Turn]) -> str:
    digest = hashlib.sha256()
    for each in source:
        digest.update(f"{each}\n".encode() if isinstance(each, str) else f"{each.number}\n".encode())
    return digest.hexdigest()


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
