"""Save the results of a benchmark, and compare a later run with them: `--save FILE` and `--compare FILE`."""

from __future__ import annotations

import argparse
import json
import pathlib

Figures = dict[str, float]


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--save", type=pathlib.Path, metavar="FILE", help="write the results to this file")
    parser.add_argument("--compare", type=pathlib.Path, metavar="FILE", help="compare with the results in this file")


def finish(figures: Figures, options: argparse.Namespace) -> None:
    """Save and compare the results according to the options."""
    if options.compare:
        print(comparison(figures, json.loads(options.compare.read_text())))
    if options.save:
        options.save.write_text(json.dumps(figures, indent=1) + "\n")


def comparison(figures: Figures, baseline: Figures) -> str:
    """Return a table with the results of both runs and their ratio."""
    lines = [f"{'':42}{'baseline':>10}{'now':>10}{'ratio':>8}"]
    for name, value in figures.items():
        before = baseline.get(name)
        if before is None:
            lines.append(f"{name:42}{'':>10}{value:>10,.2f}")
        else:
            ratio = f"{value / before:>7.2f}x" if before else ""
            lines.append(f"{name:42}{before:>10,.2f}{value:>10,.2f}{ratio}")
    return "\n".join(lines)
