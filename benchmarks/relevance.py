"""Measure the relevance of hits: `python -m benchmarks.relevance FOLDER [--fit]`.

FOLDER contains conversations in any format of `benchmarks.evaluation`. Each conversation is stored three times: in a
namespace without context, in a namespace with the previous turn as each turn's context, and as messages in a folder.
All three contain answers to the conversation's own questions, but not to questions about other conversations. For each
floor, the benchmark prints:

- silent: the fraction of questions about other conversations for which no hit reaches the floor
- apart: the same, for questions about conversations between other people; these questions certainly have no answer
- lost: the fraction of recall@10 lost because no hit for a question with an answer reaches the floor
- precision: the fraction of questions with an answer among those with a hit, if half of all questions have an answer

`--fit` prints the constants of `memories.search.relevance`: the weights of a logistic regression, in which each
namespace or folder of each file counts equally, adjusted so that the default floor loses at most the fraction COST of
recall@10 in each of them. The constants for searches without a similarity are fitted to searches in keyword mode.
"""

from __future__ import annotations

import argparse
import math
import pathlib
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from benchmarks.evaluation import data, measures, service
from benchmarks.evaluation.data import Conversation
from benchmarks.evaluation.run import load
from benchmarks.evaluation.service import Store

if TYPE_CHECKING:
    from memories.search.relevance import Signals

FLOORS = (0.1, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5)
# Memories in the first person do not contain the speaker's name. The fit therefore repeats each question that contains
# a name, with this weight, as if no memory contained the name.
UNNAMED = 0.001
PROPOSED = 60  # hits per search, as for a context of up to 3,000 tokens
AS_IS, WITH_CONTEXT, IN_FOLDER = "as is", "with context", "in a folder"
HYBRID, KEYWORD = "hybrid", "keyword"
COST = 0.03
ROUNDING = 0.02  # rounding the constants changes a logit by less than this

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Outcome:
    """The outcome of a question.

    recall: recall@10, or None if the question is about another conversation.
    named: whether the question contains a name.
    apart: whether the other conversation has different speakers.
    """

    place: str
    signals: Signals
    recall: float | None
    named: bool
    apart: bool


def ask(place: str, store: Store, conversations: Sequence[Conversation], mode: str) -> Iterator[Outcome]:
    """Ask the questions of all conversations in each namespace or folder."""
    from memories.search import relevance

    search = store.search_folder if place.endswith(IN_FOLDER) else store.search
    for conversation in conversations:
        for other in conversations:
            apart = not speakers(conversation) & speakers(other)
            for question in other.questions:
                found = search(conversation.name, question.text, mode, PROPOSED)
                assert found.signals is not None
                recall = measures.recall(found.ids[:10], question.evidence) if other is conversation else None
                yield Outcome(place, found.signals, recall, bool(relevance.names(question.text)), apart)


def speakers(conversation: Conversation) -> set[str]:
    return {turn.speaker for turn in conversation.turns}


def table(outcomes: list[Outcome]) -> str:
    lines = [f"{'floor':>8}{'silent':>10}{'apart':>10}{'lost':>10}{'precision':>12}"]
    own = [(outcome.signals.probability, outcome.recall) for outcome in outcomes if outcome.recall is not None]
    foreign = [(outcome.signals.probability, outcome.apart) for outcome in outcomes if outcome.recall is None]
    for floor in FLOORS:
        silent = measures.mean(float(probability < floor) for probability, _ in foreign)
        apart = measures.mean(float(probability < floor) for probability, is_apart in foreign if is_apart)
        lost = sum(recall for probability, recall in own if probability < floor) / sum(recall for _, recall in own)
        answered = sum(probability >= floor for probability, _ in own) / len(own)
        precision = answered / max(answered + 1 - silent, 1e-9)
        lines.append(f"{floor:8.2f}{silent:10.3f}{apart:10.3f}{lost:10.3f}{precision:12.3f}")
    return "\n".join(lines)


def constants(outcomes: Sequence[Outcome]) -> list[float]:
    return [round(float(number), 2) for number in within_cost(fitted(outcomes), outcomes)]


def fitted(outcomes: Sequence[Outcome]) -> Floats:
    """Return the intercept and the weights of a logistic regression.

    A question with an answer is weighted by its recall, because a floor loses only what has been found. In each
    namespace or folder, the questions with an answer have the same total weight as those without.
    """
    sizes: dict[tuple[str, bool], float] = defaultdict(float)
    for outcome in outcomes:
        sizes[outcome.place, outcome.recall is None] += weight(outcome)
    rows, answers, weights = [], [], []
    for outcome in outcomes:
        answerable = outcome.recall is not None
        copies = [(outcome.signals, 1.0)]
        if answerable and outcome.named:
            copies.append((replace(outcome.signals, missing=1.0), UNNAMED))
        for signals, fraction in copies:
            rows.append(features(signals))
            answers.append(float(answerable))
            weights.append(fraction * weight(outcome) / sizes[outcome.place, not answerable])
    return regression(np.array(rows), np.array(answers), np.array(weights) / sum(weights) * len(weights))


def features(signals: Signals) -> list[float]:
    """Return the factors by which the constants are multiplied."""
    return [1.0, signals.match, signals.missing, signals.length, signals.absent]


def weight(outcome: Outcome) -> float:
    return 1.0 if outcome.recall is None else outcome.recall


def regression(rows: Floats, answers: Floats, weights: Floats) -> Floats:
    """Fit a logistic regression by Newton's method, and return its coefficients."""
    solution = np.zeros(rows.shape[1])
    for _ in range(30):
        probability = 1 / (1 + np.exp(-rows @ solution))
        slope = rows.T @ (weights * (answers - probability)) - 0.1 * solution
        curve = (rows.T * (weights * probability * (1 - probability))) @ rows + 0.1 * np.eye(len(solution))
        solution = solution + np.linalg.solve(curve, slope)
    return solution


def within_cost(weights: Floats, outcomes: Sequence[Outcome]) -> Floats:
    """Change the intercept and the weight of the length, so that the default floor loses at most COST of the recall.

    The weight of the length is chosen so that the same floor suits both short and long memories.
    """
    from memories.search.relevance import FLOOR

    intercept, length = 0, 3  # in `features`
    answerable: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        if outcome.recall:
            answerable[outcome.place].append(outcome)
    changed = weights.copy()
    lengths = [measures.mean(outcome.signals.length for outcome in place) for place in answerable.values()]
    limits = [highest_floor(weights, place) for place in answerable.values()]
    places = list(zip(limits, lengths, strict=True))
    short, long = ([place for place in places if (place[1] > 0.5) is is_long] for is_long in (False, True))
    if short and long:
        distance = measures.mean(size for _, size in long) - measures.mean(size for _, size in short)
        changed[length] -= (min(long)[0] - min(short)[0]) / distance
    limit = min(highest_floor(changed, place) for place in answerable.values())
    changed[intercept] += math.log(FLOOR / (1 - FLOOR)) - limit
    return changed


def highest_floor(weights: Floats, outcomes: Sequence[Outcome]) -> float:
    """Return the highest logit that, as a floor, loses at most the fraction COST of the recall."""
    ranked = sorted((float(weights @ features(outcome.signals)), weight(outcome)) for outcome in outcomes)
    left = COST * sum(recall for _, recall in ranked)
    for logit, recall in ranked:
        left -= recall
        if left < 0:
            return logit - ROUNDING
    raise ValueError("no question has an answer")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path, help="a folder or a file with conversations")
    parser.add_argument("--fit", action="store_true", help="print the constants that fit these files best")
    options = parser.parse_args()
    hybrid: list[Outcome] = []
    keyword: list[Outcome] = []
    with tempfile.TemporaryDirectory(prefix="soma-relevance-") as folder:
        service.start(pathlib.Path(folder))
        for name, conversations in data.read(options.folder).items():
            for how in (AS_IS, WITH_CONTEXT, IN_FOLDER):
                place = f"{name}, {how}"
                store = load(place, conversations, with_context=how == WITH_CONTEXT, messages=how == IN_FOLDER)
                outcomes = list(ask(place, store, conversations, HYBRID))
                print(f"{place}\n{table(outcomes)}", flush=True)
                hybrid += outcomes
                if options.fit:
                    keyword += ask(place, store, conversations, KEYWORD)
        print(f"all\n{table(hybrid)}")
        if options.fit:
            print("with a similarity:", constants(hybrid))
            print("without:", constants(keyword))


if __name__ == "__main__":
    main()
