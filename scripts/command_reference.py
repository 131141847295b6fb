"""Generate the reference page for the management commands. scripts/reference.py writes it."""

from __future__ import annotations

import argparse
from collections.abc import Callable

Sentence = Callable[[str], str]  # joins the lines in each paragraph of help text


def page(sentence: Sentence) -> str:
    from django.core.management import get_commands, load_command_class

    ours = {"somamemory", "console", "tenants", "memories", "graph", "conversations", "operations"}
    parts = [
        "# Commands",
        "The installer sets up the `somamemory` program. Run a command as `somamemory COMMAND` or, in a checkout, as\n"
        "`.venv/bin/python manage.py COMMAND`. All commands read the same `SOMA_…` variables as the server, and\n"
        "support `--help`.",
    ]
    for name, app in sorted(get_commands().items()):
        if app in ours:
            command = load_command_class(app, name)
            parts.append(command_entry(name, command.create_parser("manage.py", name), sentence))
    return "\n\n".join(parts) + "\n"


# Options that Django adds to every command.
DJANGO = {
    "help", "version", "verbosity", "settings", "pythonpath", "traceback", "no_color", "force_color", "skip_checks",
}  # fmt: skip


def command_entry(name: str, parser: argparse.ArgumentParser, sentence: Sentence) -> str:
    parts = [f"## {name}", sentence(parser.description or "")]
    actions = [action for action in parser._actions if action.dest not in DJANGO]
    if actions:
        rows = ["| argument | meaning |", "|---|---|"]
        for action in actions:
            value = action.metavar or action.dest.upper()
            takes_value = action.nargs != 0
            flags = [f"{flag} {value}" if takes_value else flag for flag in action.option_strings] or [str(value)]
            choices = one_of([f"`{choice}`" for choice in action.choices or ()])
            text = "; ".join(filter(None, [sentence(action.help or ""), choices]))
            rows.append(f"| `{', '.join(flags)}` | {text.replace('|', chr(92) + '|')} |")
        parts.append("\n".join(rows))
    return "\n\n".join(filter(None, parts))


def one_of(choices: list[str]) -> str:
    """Join alternatives with commas and a final "or"."""
    return " or ".join(filter(None, (", ".join(choices[:-1]), *choices[-1:])))
