"""Commands that import and export conversations and memories."""

from __future__ import annotations

import json
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Literal

import click

from somamemory import times
from somamemory.cli.connection import Target, targeted
from somamemory.cli.errors import USAGE, CliError
from somamemory.cli.memories import scoped
from somamemory.cli.output import print_fields, print_json, text_of

MEDIA_TYPES = {
    ".json": "application/json",
    ".jsonl": "application/x-ndjson",
    ".ndjson": "application/x-ndjson",
    ".zip": "application/zip",
    ".md": "text/markdown",
    ".markdown": "text/markdown",
    ".txt": "text/plain",
    ".text": "text/plain",
}
PAGE = 100


@click.command(
    name="import",
    epilog="\b\nExamples:\n  somamemory import chatgpt-export.zip\n"
    "  somamemory import --memories memories.jsonl --url https://memory.example.org",
)
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("--source", help="Format of the export. Default: detected automatically.")
@click.option("--memories", is_flag=True, help="PATH contains one memory per line, as written by 'export --memories'.")
@click.option("--dry-run", is_flag=True, help="Report what would be imported, and store nothing.")
@targeted
def import_(target: Target, path: Path, source: str | None, memories: bool, dry_run: bool) -> int:
    """Import conversations (ChatGPT, Claude, SomaMemory, Markdown, text) or memories from a file or folder."""
    if memories:
        return _import_memories(target, path, dry_run)
    failed = 0
    reports = []
    for file in _progress(target, _files(path), "Importing"):
        report = _import_file(target, file, source, dry_run)
        failed += report["failed"]
        reports.append({"file": str(file), **report})
    if target.json:
        print_json(reports)
    else:
        for report in reports:
            print_fields(report)
    return 1 if failed else 0


def _files(path: Path) -> list[Path]:
    """Return the file, or every file in the folder that can be imported."""
    suffixes = ", ".join(MEDIA_TYPES)
    if not path.is_dir():
        if path.suffix.lower() not in MEDIA_TYPES:
            raise CliError(f"PATH: {path} must end in {suffixes}", USAGE, field="path")
        return [path]
    files = sorted(file for file in path.rglob("*") if file.suffix.lower() in MEDIA_TYPES and file.is_file())
    if not files:
        raise CliError(f"PATH: {path} contains no files that end in {suffixes}", USAGE, field="path")
    return files


def _import_file(target: Target, file: Path, source: str | None, dry_run: bool) -> dict[str, Any]:
    """Import a file, and return the report. A file that the server rejects, such as an empty one, counts as failed."""
    from somamemory_client import ApiError

    options: dict[str, Any] = {"source": source} if source else {}
    media_type = MEDIA_TYPES[file.suffix.lower()]
    try:
        report = target.connect().conversations.import_file(
            file.read_bytes(), media_type, name=file.name, dry_run=dry_run, **options
        )
    except ApiError as error:
        if error.status not in (413, 422) or any(item["field"] != "body" for item in error.errors):
            raise  # the other files would fail, too
        return {"failed": 1, "errors": [{"place": "the file", "reason": error.detail}]}
    return {**report}


def _import_memories(target: Target, path: Path, dry_run: bool) -> int:
    """Store a file's memories with bulk requests. Skip memories that have expired since the export."""
    with path.open("rb") as lines:
        parsed = list(_parsed(path, lines))
    now = datetime.now(UTC)
    items = [item for item in parsed if not _has_expired(item, now)]
    report: dict[str, Any] = {"stored": 0, "expired": len(parsed) - len(items), "failures": []}
    if dry_run:
        report["would_store"] = len(items)
    else:
        done = target.connect().memories.store_all(_progress(target, items, "Storing"))
        report |= {"stored": done.stored, "failures": done.failures}
    if target.json:
        print_json(report)
    else:
        print_fields(report)
    return 1 if report["failures"] else 0


def _parsed(path: Path, lines: Any) -> Iterator[dict[str, Any]]:
    """Yield the memories in a file, each with only the fields that can be stored.

    Raises CliError with the line number if a line is invalid.
    """
    fields = ("payload", "key", "coord", "namespace", "user_id", "agent_id", "session_id", "memory_type", "metadata",
              "importance", "context", "expires_at", "valid_from", "valid_to", "source", "trust")  # fmt: skip
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            memory = json.loads(line)
        except ValueError as error:
            raise CliError(f"{path}, line {number}: must be a JSON object: {error}", USAGE) from None
        if not isinstance(memory, dict) or "payload" not in memory:
            raise CliError(f"{path}, line {number}: must be a JSON object with a payload", USAGE)
        given = {name: memory[name] for name in fields if memory.get(name) not in (None, "")}
        if "key" in given:
            given.pop("coord", None)
        yield given


def _has_expired(item: dict[str, Any], now: datetime) -> bool:
    """Return whether a memory has expired. The server reports times that are not valid."""
    try:
        return times.parse(str(item["expires_at"])) <= now
    except (KeyError, ValueError):
        return False


@click.command(
    epilog="\b\nExamples:\n  somamemory export --format json --output conversations.json\n"
    "  somamemory export --memories --user ada > memories.jsonl"
)
@click.option("--format", "format_", type=click.Choice(["markdown", "json", "jsonl"]), default="markdown")
@click.option("--memories", is_flag=True, help="Export memories, one JSON object per line.")
@click.option("--namespace", help="Namespace of the memories. Default: 'default'.")
@click.option("--folder", help="Export only conversations in this folder.")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Output file. Default: standard output.",
)
@scoped
@targeted
def export(
    target: Target,
    format_: Literal["markdown", "json", "jsonl"],
    memories: bool,
    namespace: str | None,
    folder: str | None,
    output: Path | None,
    **scope: Any,
) -> None:
    """Export conversations or memories."""
    given = {name: value for name, value in scope.items() if value is not None}
    with _opened(output) as out:
        if memories:
            count = _write_memories(target, out, namespace, given)
        else:
            if folder is not None:
                given["folder"] = folder
            text = target.connect().conversations.export(format="json" if target.json else format_, **given)
            out.write(text)
            count = len(text)
    if output is not None:
        unit = "memories" if memories else "characters"
        click.secho(f"Wrote {count:,} {unit} to {text_of(str(output))}", fg="green", err=True)


def _opened(output: Path | None) -> AbstractContextManager[IO[str]]:
    """Open the output. A file appears only once it is complete; a device such as /dev/null is written to directly."""
    if output is not None and not output.parent.is_dir():
        raise CliError(f"--output: there is no folder {output.parent}; create it", USAGE, field="output")
    if output is not None and (output.is_file() or not output.exists()):
        return _replacing(output.resolve())
    return click.open_file(str(output or "-"), "w", encoding="utf-8")


@contextmanager
def _replacing(path: Path) -> Iterator[IO[str]]:
    """Open a new file that replaces `path` at the end. After an error, `path` is unchanged.

    Click's atomic files cannot be used, because they replace the file even after an error.
    """
    partial = path.with_name(f".{secrets.token_hex(8)}.partial")
    try:
        with partial.open("x", encoding="utf-8") as file:
            if path.exists():
                shutil.copymode(path, partial)
            yield file
        partial.replace(path)
    except BaseException:  # such as KeyboardInterrupt
        partial.unlink(missing_ok=True)
        raise


def _write_memories(target: Target, out: Any, namespace: str | None, scope: dict[str, Any]) -> int:
    given = {**scope, **({"namespace": namespace} if namespace else {})}
    count = 0
    for memory in target.connect().memories.list(limit=PAGE, **given):
        out.write(json.dumps(memory, ensure_ascii=False) + "\n")
        count += 1
    return count


def _progress(target: Target, items: list[Any], label: str) -> Iterator[Any]:
    """Yield the items, with a progress bar on a terminal."""
    if target.json:
        yield from items
        return
    with click.progressbar(items, label=label, file=sys.stderr) as bar:
        yield from bar


COMMANDS = (import_, export)
