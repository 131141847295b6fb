"""Summaries of whole conversations without a language model, and what a small context covers with them.

    python -m benchmarks.rollup FILE [--budget 300 600 1200]

FILE holds `{"conversations": [{"name", "turns": [{"speaker", "text", "id", "session", "date"}], "questions":
[{"question", "evidence"}]}]}`, as LoCoMo's conversations can be written. A session counts as covered when a message of
it, or a summary that covers its day, is in the context. It works in a data folder of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("file", type=Path)
    options.add_argument("--budget", type=int, nargs="+", default=[300, 600, 1200])
    options.add_argument("--questions", type=int, default=50, help="of each conversation; 0: broad ones instead")
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ.update(SOMA_DATA_DIR=folder, DJANGO_SETTINGS_MODULE="somamemory.settings", SOMA_LOG_LEVEL="ERROR")
        import django

        django.setup()
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        _measure(json.loads(given.file.read_text())["conversations"], given)


def _measure(told: list, given: argparse.Namespace) -> None:
    from conversations import services
    from conversations.enrichment import labels, schedule
    from conversations.messages import NewMessage
    from conversations.models import Conversation
    from conversations.services import NewConversation
    from graph.models import Link
    from memories import index
    from memories.index import drain
    from memories.models import Memory
    from tenants.caller import Caller
    from tenants.models import Tenant

    caller = Caller.command(Tenant.objects.get(slug="default"))
    sessions: dict = {}
    for each in told:
        turns = [
            NewMessage("user", f"{turn['speaker']}: {turn['text']}", timestamp=_moment(turn["date"]))
            for turn in each["turns"]
        ]
        conversation = services.create(caller, NewConversation(label=each["name"], messages=turns[:500]))
        if turns[500:]:
            services.append(caller, conversation.id, turns[500:])
        sessions[conversation.number] = [turn["session"] for turn in each["turns"]]
    while drain.drain():
        pass
    numbers = {row.label: row.number for row in Conversation.objects.for_tenant(caller.tenant)}
    before = {budget: _covered(caller, told, numbers, sessions, budget, given.questions) for budget in given.budget}
    started = time.perf_counter()
    made = schedule.run()
    took_s = time.perf_counter() - started
    while drain.drain():
        pass
    rows = Memory.objects.for_tenant(caller.tenant).filter(namespace="summaries")
    levels = {level: rows.filter(payload__level=level).count() for level in ("daily", "weekly", "monthly")}
    links = Link.objects.for_tenant(caller.tenant).filter(link_type="summarises").count()
    print(f"{made} summaries in {took_s:.1f} s: {levels}; {links} links; {sum(map(len, sessions.values()))} messages")
    for budget in given.budget:
        after = _covered(caller, told, numbers, sessions, budget, given.questions)
        print(
            f"budget {budget}: sessions covered {before[budget][0]:.2f} without, {after[0]:.2f} with summaries; "
            f"{after[1]:.2f} summaries in a context; "
            f"evidence recall {before[budget][2]:.3f} without, {after[2]:.3f} with"
        )
    for row in Conversation.objects.for_tenant(caller.tenant).order_by("number"):
        found = labels.suggest(caller, row.id)
        print(row.label, [(each.label, each.confidence) for each in found.suggestions])
    index.close_all()


def _covered(caller, told: list, numbers: dict, sessions: dict, budget: int, most: int) -> tuple[float, float, float]:
    """The mean number of sessions that a context covers, and of summaries in it."""
    from conversations.context.assemble import assemble_context
    from conversations.context.types import ContextRequest

    counts, summaries, recalls = [], [], []
    for each in told:
        names = sorted({turn["speaker"] for turn in each["turns"]})
        ids = {turn["id"]: at for at, turn in enumerate(each["turns"], 1)}
        for asked, evidence in _asked(each, names, most):
            turns_found = set()
            found = assemble_context(caller, ContextRequest(asked, budget=budget))
            seen = set()
            for item in found.items:
                number = int(item.message.coordinate.numbers[0])
                if item.message.namespace == "summaries":
                    covers = item.message.metadata["covers"]
                    turns = range(covers["first_turn"], covers["last_turn"] + 1)
                else:
                    turns_found.add((number, int(item.message.coordinate.numbers[1])))
                    turns = range(int(item.message.coordinate.numbers[1]), int(item.message.coordinate.numbers[1]) + 1)
                seen |= {(number, sessions[number][turn - 1]) for turn in turns}
            wanted = {(numbers[each["name"]], ids[one]) for one in evidence if one in ids}
            if wanted:
                recalls.append(len(wanted & turns_found) / len(wanted))
            counts.append(len(seen))
            summaries.append(sum(item.message.namespace == "summaries" for item in found.items))
    return statistics.fmean(counts), statistics.fmean(summaries), statistics.fmean(recalls or [0])


def _asked(each, names, most):
    if most:
        return [(asked["question"], asked["evidence"]) for asked in each.get("questions", [])[:most]]
    broad = [f"What has been going on in {name}'s life?" for name in names]
    return [(question, []) for question in [*broad, "What happened over the last months?"]]


def _moment(text: str) -> datetime:
    """`1:56 pm on 8 May, 2023`"""
    return datetime.strptime(text, "%I:%M %p on %d %B, %Y").replace(tzinfo=UTC)


if __name__ == "__main__":
    main()
