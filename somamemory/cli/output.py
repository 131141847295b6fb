"""Tables for people, JSON for scripts."""

from __future__ import annotations

import codecs
import json
import shutil
import sys
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import click

Row = Mapping[str, Any]
# The content of a cell: the name of a field, or a function of the row.
Column = tuple[str, str | Callable[[Row], object]]
_GAP = "  "
_WIDEST = 60


def as_json(value: object) -> str:
    """Return a JSON document, with escapes if the output's encoding may not support all of its characters."""
    is_complete = codecs.lookup(sys.stdout.encoding or "utf-8").name == "utf-8"
    return json.dumps(value, ensure_ascii=not is_complete, indent=2, default=str)


def print_json(value: object) -> None:
    click.echo(as_json(value))


def print_table(rows: Sequence[Row], columns: Sequence[Column], empty: str) -> None:
    """Print rows under a bold header, truncated to the terminal's width. If there are no rows, print `empty`."""
    if not rows:
        click.echo(empty)
        return
    cells = [[text_of(_cell(row, source)) for _, source in columns] for row in rows]
    heads = [head for head, _ in columns]
    widths = [max(len(head), *(len(row[at]) for row in cells)) for at, head in enumerate(heads)]
    widths[-1] = _last_width(widths)
    click.secho(_line(heads, widths), bold=True)
    for row in cells:
        click.echo(_line(row, widths))


def paged(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add a command option for continuing a list."""
    return click.option(
        "--cursor", metavar="CURSOR", help="Cursor for the next page, as printed by the previous command."
    )(command)


def print_page(page: Row, columns: Sequence[Column], empty: str, items: str = "items") -> None:
    """Print a page of a list as a table. If it is not the last one, say how to continue."""
    print_table(page[items], columns, empty)
    if page["next_cursor"] is not None:
        click.secho(f"There are more results. To continue, add --cursor {page['next_cursor']}", fg="yellow", err=True)


def print_fields(row: Row, names: Iterable[str] | None = None) -> None:
    """Print an object as one line per field. Fields without a value are left out."""
    shown = [(name, text_of(row[name])) for name in names or row if row.get(name) not in (None, "", [], {})]
    width = max((len(name) for name, _ in shown), default=0)
    for name, text in shown:
        click.echo(f"{click.style(name.ljust(width), bold=True)}{_GAP}{text}")


def text_of(value: object) -> str:
    """Format a value as one line without escape sequences, which stored text may contain."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3f}".rstrip("0").rstrip(".")
    text = value if isinstance(value, str) else _compact(value)
    return printable(" ".join(text.split()))


def printable(text: str) -> str:
    """Replace control characters, except line ends and tabs."""
    return "".join(" " if unicodedata.category(c) in ("Cc", "Cf", "Cs") and c not in "\n\t" else c for c in text)


def _compact(value: object) -> str:
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ", ".join(value)
    return json.dumps(value, ensure_ascii=False, default=str)


def _cell(row: Row, source: str | Callable[[Row], object]) -> object:
    return row.get(source) if isinstance(source, str) else source(row)


def _last_width(widths: Sequence[int]) -> int:
    """Give the last column the remaining width of the terminal."""
    left = shutil.get_terminal_size((120, 24)).columns - sum(widths[:-1]) - len(_GAP) * (len(widths) - 1)
    return max(_WIDEST // 2, min(widths[-1], left))


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    cut = [cell if len(cell) <= width else cell[: width - 1] + "…" for cell, width in zip(cells, widths, strict=True)]
    return _GAP.join(cell.ljust(width) for cell, width in zip(cut, widths, strict=True)).rstrip()
