"""Measure the relevance of hits: `python -m benchmarks.relevance FOLDER [--fit]`.

FOLDER contains conversations in any format of `benchmarks.evaluation`. Each conversation becomes two namespaces,
without context and with the previous turn as context, and messages in a folder. They contain answers to the
conversation's own questions, but not to questions about other conversations. For each floor, the benchmark prints:

- silent: the fraction of questions without an answer for which no hit reaches the floor
- lost: the fraction of recall@10 lost because no hit for a question with an answer reaches the floor
- precision: the fraction of questions with an answer among those that are not silent, if half of all questions have one

`--fit` prints the constants of `memories.search.relevance` that fit these files best, with equal weight for each file.
"""

from __future__ import annotations

import argparse
import pathlib
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from benchmarks.evaluation import data, measures, service
from benchmarks.evaluation.data import Conversation, Question
from benchmarks.evaluation.run import load
from benchmarks.evaluation.service import Found

if TYPE_CHECKING:
    from memories.search.relevance import Signals

FLOORS = (0.1, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5)
FOREIGN = 4  # ask one in this many questions about other conversations
# Memories in the first person lack the name. For this share of the questions, the fit assumes that no memory has the
# names.
UNNAMED = 0.003
PROPOSED = 60  # as for a context of up to 3,000 tokens
AS_IS, WITH_CONTEXT, IN_FOLDER = "as is", "with context", "in a folder"


@dataclass(frozen=True)
class Outcome:
    """The outcome of a question. `recall` is recall@10, or None if the question has no answer in the conversation."""

    file: str
    signals: Signals
    recall: float | None
    named: bool


def ask(name: str, conversations: Sequence[Conversation], place: str) -> Iterator[Outcome]:
    """Store the conversations as a tenant, and ask the questions of all conversations in each namespace or folder."""
    store = load(f"{name} {place}", conversations, with_context=place == WITH_CONTEXT, messages=place == IN_FOLDER)
    for number, conversation in enumerate(conversations):
        for other in conversations:
            for at, question in enumerate(other.questions):
                if other is conversation or at % FOREIGN == number % FOREIGN:
                    search = store.search_folder if place == IN_FOLDER else store.search
                    found = search(conversation.name, question.text, "hybrid", PROPOSED)
                    yield outcome(name, found, question, answerable=other is conversation)


def outcome(name: str, found: Found, question: Question, *, answerable: bool) -> Outcome:
    from memories.search import relevance

    assert found.signals is not None
    recall = measures.recall(found.ids[:10], question.evidence) if answerable else None
    return Outcome(name, found.signals, recall, bool(relevance.names(question.text)))


def table(outcomes: list[Outcome]) -> str:
    lines = [f"{'floor':>8}{'silent':>10}{'lost':>10}{'precision':>12}"]
    own = [(outcome.signals.probability, outcome.recall) for outcome in outcomes if outcome.recall is not None]
    foreign = [outcome.signals.probability for outcome in outcomes if outcome.recall is None]
    for floor in FLOORS:
        silent = sum(probability < floor for probability in foreign) / len(foreign)
        lost = sum(recall for probability, recall in own if probability < floor) / sum(recall for _, recall in own)
        answered = sum(probability >= floor for probability, _ in own) / len(own)
        precision = answered / max(answered + 1 - silent, 1e-9)
        lines.append(f"{floor:8.2f}{silent:10.3f}{lost:10.3f}{precision:12.3f}")
    return "\n".join(lines)


def fitted(outcomes: list[Outcome], *, with_similarity: bool) -> list[float]:
    """Return the intercept and the weights of a logistic regression, by Newton's method.

    A question with an answer is weighted by its recall, because a floor loses only what has been found. In each file,
    the questions with an answer have the same total weight as those without.
    """
    sizes: dict[tuple[str, bool], float] = defaultdict(float)
    for outcome in outcomes:
        sizes[outcome.file, outcome.recall is None] += weight(outcome)
    rows, answers, weights = [], [], []
    for outcome in outcomes:
        signals, answerable = outcome.signals, outcome.recall is not None
        match = (signals.similarity or 0.0) * with_similarity + signals.coverage
        copies = [(signals.missing, 1.0), *([(1.0, UNNAMED)] if answerable and outcome.named else [])]
        for missing, share in copies:
            rows.append([1.0, match, missing, signals.length])
            answers.append(float(answerable))
            weights.append(share * weight(outcome) / sizes[outcome.file, not answerable])
    return regression(np.array(rows), np.array(answers), np.array(weights) / sum(weights) * len(weights))


def weight(outcome: Outcome) -> float:
    return 1.0 if outcome.recall is None else outcome.recall


def regression(rows: NDArray[np.float64], answers: NDArray[np.float64], weights: NDArray[np.float64]) -> list[float]:
    solution = np.zeros(rows.shape[1])
    for _ in range(30):
        probability = 1 / (1 + np.exp(-rows @ solution))
        slope = rows.T @ (weights * (answers - probability)) - 0.1 * solution
        curve = (rows.T * (weights * probability * (1 - probability))) @ rows + 0.1 * np.eye(len(solution))
        solution = solution + np.linalg.solve(curve, slope)
    return [round(float(number), 2) for number in solution]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path, help="a folder or a file with conversations")
    parser.add_argument("--fit", action="store_true", help="print the constants that fit these files best")
    options = parser.parse_args()
    every: list[Outcome] = []
    with tempfile.TemporaryDirectory(prefix="soma-relevance-") as folder:
        service.start(pathlib.Path(folder))
        for name, conversations in data.read(options.folder).items():
            for place in (AS_IS, WITH_CONTEXT, IN_FOLDER):
                outcomes = list(ask(name, conversations, place))
                every += outcomes
                print(f"{name}, {place}\n{table(outcomes)}", flush=True)
        print(f"all\n{table(every)}")
        if options.fit:
            print("with a similarity:", fitted(every, with_similarity=True))
            print("without:", fitted(every, with_similarity=False))


if __name__ == "__main__":
    main()
