"""`somamemory doctor`: diagnose problems with an installation and suggest fixes."""

from __future__ import annotations

from collections.abc import Iterator

import click

from somamemory.cli.connection import Target, targeted
from somamemory.cli.doctor.finding import ERROR, OK, WARNING, Finding
from somamemory.cli.output import print_json, text_of

_MARKS = {OK: click.style("ok", fg="green"), WARNING: click.style("warning", fg="yellow")}
_MARKS[ERROR] = click.style("error", fg="red")


@click.command(
    epilog="\b\nExamples:\n  somamemory doctor\n  somamemory doctor --url https://memory.example.org --json\n\n"
    "Exit code: 1 if there are errors, otherwise 0."
)
@targeted
def doctor(target: Target) -> int:
    """Diagnose problems with this installation or with a server, and suggest fixes. Changes nothing."""
    findings = list(_findings(target))
    if target.json:
        print_json([vars(finding) for finding in findings])
    else:
        for finding in findings:
            click.echo(f"{_MARKS[finding.status]:17} {finding.name}: {text_of(finding.detail)}")
            if finding.remedy:
                click.echo(f"{'':8} → {finding.remedy}")
    return 1 if any(finding.status == ERROR for finding in findings) else 0


def _findings(target: Target) -> Iterator[Finding]:
    if not target.is_local:
        from somamemory.cli.doctor import server

        yield from server.findings(target)
        return
    from somamemory.cli.doctor import local

    yield from local.findings(target)
