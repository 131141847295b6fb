"""Measure how much of a conversation a small context can cover with extractive summaries.

    python -m benchmarks.rollup FILE [--budget 300 600 1200]

FILE is JSON: `{"conversations": [{"name", "turns": [{"speaker", "text", "id", "session", "date"}], "questions":
[{"question", "evidence"}]}]}`, for example LoCoMo's conversations. A session counts as covered if the context contains
one of its messages, or a summary of at least one of its messages. The benchmark uses a temporary data folder.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tenants.caller import Caller

Dialogue = dict[str, Any]  # an item of `conversations` in FILE
Sessions = dict[int, list[Any]]  # the session of each turn, by conversation number


@dataclass(frozen=True)
class Coverage:
    """Means over all questions: the number of sessions and summaries in a context, and the share of evidence found."""

    sessions: float
    summaries: float
    recall: float


@dataclass
class Context:
    """The turns and sessions that a context contains, each with its conversation number."""

    turns: set[tuple[int, int]] = field(default_factory=set)
    sessions: set[tuple[int, Any]] = field(default_factory=set)
    summaries: int = 0


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("file", type=Path)
    options.add_argument("--budget", type=int, nargs="+", default=[300, 600, 1200])
    options.add_argument(
        "--questions", type=int, default=50, help="number per conversation; 0 uses broad questions instead"
    )
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ.update(SOMA_DATA_DIR=folder, DJANGO_SETTINGS_MODULE="somamemory.settings", SOMA_LOG_LEVEL="ERROR")
        import django

        django.setup()
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        _measure(json.loads(given.file.read_text())["conversations"], given)


def _measure(dialogues: list[Dialogue], options: argparse.Namespace) -> None:
    from conversations.enrichment import schedule
    from memories import index
    from tenants.caller import Caller
    from tenants.models import Tenant

    caller = Caller.command(Tenant.objects.get(slug="default"))
    sessions = _store(caller, dialogues)
    _drain()
    before = [_coverage(caller, dialogues, sessions, budget, options.questions) for budget in options.budget]
    started = time.perf_counter()
    written = schedule.run()
    took_s = time.perf_counter() - started
    _drain()
    print(f"{written} summaries in {took_s:.1f} s: {_stored(caller)}; {sum(map(len, sessions.values()))} messages")
    for budget, without in zip(options.budget, before, strict=True):
        print(_comparison(budget, without, _coverage(caller, dialogues, sessions, budget, options.questions)))
    _print_labels(caller)
    index.close_all()


def _store(caller: Caller, dialogues: list[Dialogue]) -> Sessions:
    """Store the dialogues as conversations, and return the session of each turn, by conversation number."""
    from conversations import services
    from conversations.messages import NewMessage
    from conversations.services import NewConversation

    sessions: Sessions = {}
    for dialogue in dialogues:
        turns = [
            NewMessage("user", f"{turn['speaker']}: {turn['text']}", timestamp=_moment(turn["date"]))
            for turn in dialogue["turns"]
        ]
        conversation = services.create(caller, NewConversation(label=dialogue["name"], messages=turns[:500]))
        if turns[500:]:
            services.append(caller, conversation.id, turns[500:])
        sessions[conversation.number] = [turn["session"] for turn in dialogue["turns"]]
    return sessions


def _drain() -> None:
    from memories.index import drain

    while drain.drain():
        pass


def _stored(caller: Caller) -> str:
    from graph.models import Link
    from memories.models import Memory

    rows = Memory.objects.for_tenant(caller.tenant).filter(namespace="summaries")
    levels = {level: rows.filter(payload__level=level).count() for level in ("daily", "weekly", "monthly")}
    links = Link.objects.for_tenant(caller.tenant).filter(link_type="summarises").count()
    return f"{levels}; {links} links"


def _comparison(budget: int, without: Coverage, with_summaries: Coverage) -> str:
    return (
        f"budget {budget}: sessions covered {without.sessions:.2f} without, "
        f"{with_summaries.sessions:.2f} with summaries; {with_summaries.summaries:.2f} summaries in a context; "
        f"evidence recall {without.recall:.3f} without, {with_summaries.recall:.3f} with"
    )


def _print_labels(caller: Caller) -> None:
    from conversations.enrichment import labels
    from conversations.models import Conversation

    for row in Conversation.objects.for_tenant(caller.tenant).order_by("number"):
        suggestions = labels.suggest(caller, row.id).suggestions
        print(row.label, [(suggestion.label, suggestion.confidence) for suggestion in suggestions])


def _coverage(
    caller: Caller, dialogues: list[Dialogue], sessions: Sessions, budget: int, max_questions: int
) -> Coverage:
    """Return the means over all questions."""
    from conversations.models import Conversation

    numbers = {row.label: row.number for row in Conversation.objects.for_tenant(caller.tenant)}
    counts, summaries, recalls = [], [], []
    for dialogue in dialogues:
        number = numbers[dialogue["name"]]
        turns = {turn["id"]: (number, index) for index, turn in enumerate(dialogue["turns"], 1)}
        for question, evidence in _questions(dialogue, max_questions):
            context = _context(caller, sessions, question, budget)
            if expected := {turns[id] for id in evidence if id in turns}:
                recalls.append(len(expected & context.turns) / len(expected))
            counts.append(len(context.sessions))
            summaries.append(context.summaries)
    return Coverage(statistics.fmean(counts), statistics.fmean(summaries), statistics.fmean(recalls or [0]))


def _context(caller: Caller, sessions: Sessions, question: str, budget: int) -> Context:
    from conversations.context.assemble import assemble_context
    from conversations.context.types import ContextRequest

    context = Context()
    for item in assemble_context(caller, ContextRequest(question, budget=budget)).items:
        number, second, *_ = map(int, item.message.coordinate.numbers)
        if item.message.namespace == "summaries":
            covers = item.message.metadata["covers"]
            turns = range(covers["first_turn"], covers["last_turn"] + 1)
            context.summaries += 1
        else:
            turns = range(second, second + 1)
            context.turns.add((number, second))
        context.sessions |= {(number, sessions[number][turn - 1]) for turn in turns}
    return context


def _questions(dialogue: Dialogue, max_questions: int) -> list[tuple[str, list[str]]]:
    """Return at most `max_questions` questions, each with the ids of the turns that answer it.

    If `max_questions` is 0, return broad questions without such ids.
    """
    if max_questions:
        return [(item["question"], item["evidence"]) for item in dialogue.get("questions", [])[:max_questions]]
    names = sorted({turn["speaker"] for turn in dialogue["turns"]})
    broad = [f"What has been going on in {name}'s life?" for name in names]
    return [(question, []) for question in [*broad, "What happened over the last months?"]]


def _moment(text: str) -> datetime:
    """Parse a time such as `1:56 pm on 8 May, 2023`."""
    return datetime.strptime(text, "%I:%M %p on %d %B, %Y").replace(tzinfo=UTC)


if __name__ == "__main__":
    main()
