"""Ask the questions about a set in each search mode, with one embedding model, and collect the results."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from benchmarks.embedded import progress
from benchmarks.evaluation import measures
from benchmarks.evaluation.data import Conversation, Question
from benchmarks.evaluation.service import LONG_PAGE, Found, Store
from benchmarks.evaluation.typos import misspelled

KS = (5, 10, 20)
BUDGETS = (500, 1_000, 2_000)
MODES = {"keyword only": "keyword", "dense only": "semantic", "hybrid": "hybrid"}
CONTEXT = "context"
COLUMNS = (
    *(f"R@{k}" for k in KS), "nDCG@10", "silent", "lost", "precision", *(f"in {n:,}" for n in BUDGETS), "tokens", "p50",
    "p95",
)  # fmt: skip


@dataclass
class Row:
    """The results of one search mode, with a number per question."""

    recall: dict[int, list[float]] = field(default_factory=lambda: {k: [] for k in KS})
    ndcg: list[float] = field(default_factory=list)
    answered: list[float] = field(default_factory=list)  # 1 if the hits for an answerable question reach the floor
    kept: list[float] = field(default_factory=list)  # the recall if the hits reach the floor, otherwise 0
    whole: list[float] = field(default_factory=list)  # the recall without a floor
    silent: list[float] = field(default_factory=list)  # 1 if an unanswerable question gets no hits
    inside: dict[int, list[float]] = field(default_factory=lambda: {budget: [] for budget in BUDGETS})
    tokens: list[float] = field(default_factory=list)
    ms: list[float] = field(default_factory=list)

    def figures(self) -> list[float]:
        """Return the results in the order of COLUMNS. NaN means not measured."""
        mean = measures.mean
        silent, whole = mean(self.silent), mean(self.whole)
        return [
            *(mean(self.recall[k]) for k in KS),
            mean(self.ndcg),
            silent,
            1 - mean(self.kept) / whole if whole else 0.0,
            measures.precision(mean(self.answered), silent),
            *(mean(self.inside[budget]) for budget in BUDGETS),
            mean(self.tokens),
            measures.percentile(self.ms, 0.5),
            measures.percentile(self.ms, 0.95),
        ]


@dataclass(frozen=True)
class Task:
    """A question about a conversation, and another question that this conversation cannot answer."""

    name: str
    question: Question
    foreign: Question | None


def tasks(conversations: Sequence[Conversation], share: float, *, typos: bool = False) -> list[Task]:
    """Return the fraction `share` of the questions, in a random but reproducible order.

    typos: whether to misspell one word in each question.
    """
    every = []
    for at, conversation in enumerate(conversations):
        others = [question for other in (*conversations[at + 1 :], *conversations[:at]) for question in other.questions]
        random.Random(at).shuffle(others)
        for number, question in enumerate(conversation.questions):
            every.append(Task(conversation.name, question, others[number % len(others)] if others else None))
    if typos:
        chance = random.Random(len(every))
        every = [replace(task, question=misspelled(task.question, chance)) for task in every]
    random.Random(len(every)).shuffle(every)
    return every[: max(1, round(len(every) * share))]


def load(name: str, conversations: Sequence[Conversation], *, with_context: bool, messages: bool = False) -> Store:
    store = Store.create("".join(letter if letter.isalnum() else "-" for letter in name.lower()).strip("-") or "set")
    for at, conversation in enumerate(conversations):
        store.add(conversation, with_context=with_context)
        if messages:
            store.add_messages(conversation)
        progress(f"storing {name}", (at + 1) / len(conversations))
    store.index()
    return store


def ask(name: str, store: Store, asked: Sequence[Task], names: Sequence[str], deadline: float) -> dict[str, Row]:
    """Ask the questions in each mode until the deadline (a `time.monotonic` time). All rows have the same questions."""
    rows = {name: Row() for name in names}
    for number, task in enumerate(asked):
        if time.monotonic() > deadline:
            break
        for way, row in rows.items():
            if way == CONTEXT:
                of_context(store, task, row)
            else:
                of_search(store, task, row, MODES[way])
        progress(f"asking {name}", (number + 1) / len(asked))
    return rows


def of_search(store: Store, task: Task, row: Row, mode: str) -> None:
    from memories.search.relevance import FLOOR

    evidence = task.question.evidence
    found = store.search(task.name, task.question.text, mode, max(KS))
    for k in KS:
        row.recall[k].append(measures.recall(found.ids[:k], evidence))
    row.ndcg.append(measures.ndcg(found.ids, evidence))
    reaches = found.probability >= FLOOR
    row.answered.append(float(reaches))
    row.whole.append(row.recall[10][-1])
    row.kept.append(row.whole[-1] * reaches)
    if task.foreign:
        row.silent.append(float(store.search(task.name, task.foreign.text, mode, 10).probability < FLOOR))
    row.ms.append(found.ms)
    row.tokens.append(sum(sizes(found)[:10]))
    long = store.search(task.name, task.question.text, mode, LONG_PAGE)
    tokens = sizes(long)
    for budget in BUDGETS:
        row.inside[budget].append(measures.recall(measures.within(long.ids, tokens, budget), evidence))


def of_context(store: Store, task: Task, row: Row) -> None:
    evidence, text = task.question.evidence, task.question.text
    for budget in BUDGETS:
        found = store.context(task.name, text, budget)
        row.inside[budget].append(measures.recall(found.ids, evidence))
        if budget == 1_000:
            row.tokens.append(sum(sizes(found)))
            row.ms.append(found.ms)
            row.kept.append(row.inside[budget][-1])
            row.answered.append(float(bool(found.ids)))
    row.whole.append(measures.recall(store.context(task.name, text, 1_000, floor=False).ids, evidence))
    if task.foreign:
        row.silent.append(float(not store.context(task.name, task.foreign.text, 1_000).ids))


def sizes(found: Found) -> list[int]:
    from conversations.context import tokens

    return tokens.count(found.texts)
