"""Measure the cost and the benefit of each ranking signal: `python -m benchmarks.evaluation.signals FOLDER`.

Each question is asked once with all signals, and then once without each signal. The gain is the loss of recall@10
without the signal. The cost is the CPU time that a search saves without the signal (median over the questions). The
questions are in a random order, so the results hardly change if time runs out.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from benchmarks.embedded import progress
from benchmarks.evaluation import data, measures, run, service
from benchmarks.evaluation.service import Store

ALL = "all signals"
PLACE = "memories.search"
Without = dict[str, AbstractContextManager[object]]


def without() -> Without:
    """Return, for each signal, a context manager that makes the ranking ignore it."""
    from memories.search.relevance import Signals

    return {
        ALL: contextlib.nullcontext(),
        "neighbours": patch(f"{PLACE}.neighbours.add"),
        "second neighbours": patch(f"{PLACE}.neighbours.SHARES", {-1: 0.4, 1: 0.6}),
        "answers after questions": patch(f"{PLACE}.scoring.ANSWER", 0.4),
        "named speaker": patch(f"{PLACE}.wording.NAMED", 0.0),
        "first person": patch(f"{PLACE}.wording.FIRST_PERSON", 0.0),
        "fraction of questions": patch(f"{PLACE}.scoring.QUESTION", 0.0),
        "length of memories": patch(f"{PLACE}.scoring.length_normalisation", lambda average_length: 0.4),
        "best passage": patch(f"{PLACE}.scoring.evidence", _without_passages),
        "frequent words left out": patch(f"{PLACE}.scoring.dense_query", lambda query, stats: query),
        "relevance": patch(f"{PLACE}.relevance.signals", lambda *arguments: Signals()),
    }


def _without_passages(
    memories: Sequence[str], weights: Mapping[str, float], average_length: float
) -> NDArray[np.float64]:
    from memories.search import scoring

    return scoring.saturations(memories, list(weights), average_length)


def measure(store: Store, tasks: Sequence[run.Task], name: str, deadline: float) -> dict[str, tuple[float, float]]:
    """Return, for each signal, recall@10 without it and the CPU milliseconds that a search saves without it.

    For `ALL`, return recall@10 and the CPU milliseconds of a search with all signals. No question is asked after the
    deadline.
    """
    recalls: dict[str, list[float]] = defaultdict(list)
    cpu_ms: dict[str, list[float]] = defaultdict(list)
    for number, task in enumerate(tasks):
        if number and time.monotonic() > deadline:
            break
        store.search(task.name, task.question.text, "hybrid", 10)  # fills the caches
        for signal, context in without().items():
            with context:
                began = time.process_time()
                found = store.search(task.name, task.question.text, "hybrid", 10)
                cpu_ms[signal].append((time.process_time() - began) * 1000)
            recalls[signal].append(measures.recall(found.ids, task.question.evidence))
        progress(f"asking {name}", (number + 1) / len(tasks))
    saved = {
        signal: statistics.median(all_ms - ms for all_ms, ms in zip(cpu_ms[ALL], times, strict=True))
        for signal, times in cpu_ms.items()
    }
    saved[ALL] = statistics.median(cpu_ms[ALL])
    print(f"{name}: {len(recalls[ALL])} questions")
    return {signal: (measures.mean(recalls[signal]), saved[signal]) for signal in recalls}


def table(results: dict[str, dict[str, tuple[float, float]]]) -> str:
    lines = [f"| | {' | '.join(results)} | gain | CPU |", "|---" * (len(results) + 3) + "|"]
    whole = measures.mean(figures[ALL][0] for figures in results.values())
    for signal in next(iter(results.values())):
        shares = [figures[signal][0] for figures in results.values()]
        cells = [f"{share:.4f}" for share in shares]
        cpu = measures.mean(figures[signal][1] for figures in results.values())
        lines.append(f"| {signal} | {' | '.join(cells)} | {whole - measures.mean(shares):+.4f} | {cpu:.2f} ms |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="a folder or a file with conversations")
    parser.add_argument("--share", type=float, default=1.0, help="ask this fraction of the questions (default: 1)")
    parser.add_argument("--minutes", type=float, default=15, help="stop asking after this many minutes")
    options = parser.parse_args()
    sources = data.read(options.data)
    chosen = {name: run.tasks(conversations, options.share) for name, conversations in sources.items()}
    seconds = options.minutes * 60 / sum(map(len, chosen.values()))
    with tempfile.TemporaryDirectory(prefix="soma-signals-") as folder:
        service.start(Path(folder))
        results = {}
        for name, asked in chosen.items():
            store = run.load(name, sources[name], with_context=False)
            results[name] = measure(store, asked, name, time.monotonic() + seconds * len(asked))
        print(table(results))


if __name__ == "__main__":
    main()
