"""Evaluate search: `make eval DATA=FOLDER`, or `python -m benchmarks.evaluation FOLDER`.

docs/explanation/evaluation.md describes the data, the columns and the results. Each embedding model runs in its own
process with an empty database. Settings such as SOMA_VECTOR_INDEX apply.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.evaluation import data, run, service
from benchmarks.moving import empty_database

BUNDLED, BASELINE = "wordllama", "hashing"


@dataclass(frozen=True)
class Measured:
    """For one set: the number of questions asked, the number of questions in the set, and the results of each row."""

    asked: int
    of: int
    rows: dict[str, list[float]]


def providers() -> list[str]:
    """Return the bundled model, the provider in the settings, and the baseline without a model."""
    return list(dict.fromkeys([BUNDLED, os.environ.get("SOMA_EMBEDDING_PROVIDER") or BUNDLED, BASELINE]))


def in_this_process(options: argparse.Namespace) -> dict[str, Measured]:
    """Measure with the model in the settings. The rows for the bundled model include those that need no model."""
    names = [*run.MODES, run.CONTEXT] if options.provider == BUNDLED else ["dense only", "hybrid"]
    sources = data.read(options.data)
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(empty_database(options.database)) if options.database else ""
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="soma-eval-"))
        service.start(Path(folder), url)
        stack.callback(service.stop)
        chosen = {
            name: run.tasks(conversations, options.share, typos=options.typos)
            for name, conversations in sources.items()
        }
        seconds = options.minutes * 60 / sum(map(len, chosen.values()))
        results = {}
        for name, asked in chosen.items():
            store = run.load(name, sources[name], with_context=options.context, messages=run.CONTEXT in names)
            rows = run.ask(name, store, asked, names, time.monotonic() + seconds * len(asked))
            count = max(len(row.ms) for row in rows.values())
            results[name] = Measured(count, len(asked), {row: rows[row].figures() for row in names})
    return results


def in_own_process(provider: str, options: argparse.Namespace) -> dict[str, Measured]:
    command = [sys.executable, "-m", "benchmarks.evaluation", *sys.argv[1:], "--provider", provider]
    environment = os.environ | {"SOMA_EMBEDDING_PROVIDER": provider}
    if provider != os.environ.get("SOMA_EMBEDDING_PROVIDER"):  # these belong to the provider in the settings
        environment |= {"SOMA_EMBEDDING_MODEL": "", "SOMA_EMBEDDING_DIMENSION": "0"}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(done.returncode)
    return {name: Measured(**measured) for name, measured in json.loads(done.stdout).items()}


def table(results: dict[str, dict[str, Measured]]) -> str:
    """Return the results, by provider and set, as one table in Markdown."""
    lines = ["| data | search | " + " | ".join(run.COLUMNS) + " |", "|---" * (len(run.COLUMNS) + 2) + "|"]
    for name in next(iter(results.values())):
        for provider, measured in results.items():
            for row, figures in measured[name].rows.items():
                title = row if provider == BUNDLED else f"{row}, {provider}"
                lines.append(f"| {name} | {title} | " + " | ".join(map(shown, run.COLUMNS, figures)) + " |")
    return "\n".join(lines)


def shown(column: str, figure: float) -> str:
    if math.isnan(figure):
        return "—"
    if column in ("p50", "p95"):
        return f"{figure:.1f} ms"
    return f"{figure:.0f}" if column == "tokens" else f"{figure:.4f}"


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="a folder or a file with conversations")
    parser.add_argument("--share", type=float, default=1.0, help="ask this fraction of the questions (default: 1)")
    parser.add_argument("--minutes", type=float, default=20, help="stop after this many minutes for each model")
    parser.add_argument(
        "--context", action="store_true", help="store each memory with the previous turn as its context"
    )
    parser.add_argument("--typos", action="store_true", help="misspell one word in each question")
    parser.add_argument("--database", default="", help="postgres://... URL of a server, instead of SQLite")
    parser.add_argument("--provider", help=argparse.SUPPRESS)  # set only in the process of each model
    return parser


def main() -> None:
    options = parser().parse_args()
    try:
        if options.provider:
            print(json.dumps({name: asdict(measured) for name, measured in in_this_process(options).items()}))
            return
        data.read(options.data)  # before processes start
    except (data.UnknownFormat, OSError) as error:
        sys.exit(str(error))
    results = {provider: in_own_process(provider, options) for provider in providers()}
    print(table(results))
    for name, measured in results[BUNDLED].items():
        print(
            f"{name}: {measured.asked} of {measured.of} questions" + (", out of time" * (measured.asked < measured.of))
        )


if __name__ == "__main__":
    main()
