"""Generate the reference page for the TypeScript client from its source code. `make reference` runs this script."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).resolve().parent.parent / "clients" / "typescript" / "src"
INTRODUCTION = """\
# TypeScript client

`@somamemory/client` exports the `Client` class, the errors, and the request and response types, such as `MemoryOut`.
The [REST API reference](rest-api.md) describes the fields of these types. [Use the TypeScript
client](../how-to/typescript.md) shows how to use the client. A search returns a `SearchResult`. Iterate over it to get
the hits, or read its `memories`, `degraded`, `next_offset` and `raw` (the whole response).
"""
CLASSES = {
    "client.memories": "Memories",
    "client.conversations": "Conversations",
    "client.context": "Context",
    "client.graph": "Graph",
    "client.namespaces": "Namespaces",
    "client.proposals": "Proposals",
    "client.admin.tenants": "Tenants",
    "client.admin.keys": "Keys",
    "client.admin.jobs": "Jobs",
    "Pages": "Pages",
}
_DOC = r"(?:/\*\*(?P<doc>(?:(?!\*/).)*)\*/\n *)?"
_CLASS = re.compile(rf"{_DOC}export class (?P<name>\w+)[^{{]*\{{(?P<body>.*?)^\}}", re.MULTILINE | re.DOTALL)
_METHOD = re.compile(rf"^  {_DOC}(?:async )?\*?(?P<name>[a-z]\w*)\((?P<rest>[^\n]*)\): (?P<result>[^\n]+?)(?: \{{|;)$",
                     re.MULTILINE | re.DOTALL)  # fmt: skip
_FIELD = re.compile(
    r"^  /\*\*(?P<doc>(?:(?!\*/).)*)\*/\n  (?P<name>\w+)\?: (?P<type>[^\n]+);$", re.MULTILINE | re.DOTALL
)
_ERROR = re.compile(r"^/\*\*(?P<doc>[^\n]*)\*/\nexport class (?P<name>\w+)", re.MULTILINE)


def page() -> str:
    text = "\n".join(file.read_text(encoding="utf-8") for file in sorted(SOURCE.glob("*.ts")) if file.stem != "schema")
    classes = {match["name"]: match for match in _CLASS.finditer(text) if match["name"]}
    parts = [INTRODUCTION, "## Client", "`new Client(options?)`", first("Client", classes["Client"]["doc"])]
    parts += [table("option", "meaning", fields(text, "ClientOptions"))]
    parts += [table("method", "purpose", methods("Client", classes["Client"]["body"]))]
    parts += ["### Options for `client.request`", table("option", "meaning", fields(text, "RequestOptions"))]
    for title, name in CLASSES.items():
        parts += [f"## `{title}`", first(name, classes[name]["doc"])]
        parts += [table("method", "purpose", methods(name, classes[name]["body"]))]
    errors = (SOURCE / "errors.ts").read_text(encoding="utf-8")
    rows = (f"| `{match['name']}` | {plain(match['doc'])} |" for match in _ERROR.finditer(errors))
    parts += ["## Errors", table("class", "meaning", rows)]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def fields(text: str, interface: str) -> Iterator[str]:
    body = text.partition(f"export interface {interface} {{\n")[2].partition("\n}")[0]
    for match in _FIELD.finditer(body):
        yield f"| `{match['name']}` | {plain(match['doc'])} |"


def methods(owner: str, body: str) -> Iterator[str]:
    """Yield a row per public method. Raises ValueError if a method has no documentation."""
    seen = set()
    for match in _METHOD.finditer(body):
        name = match["name"]
        if name in seen or name == "constructor":
            continue
        seen.add(name)
        call = f"{name}({match['rest']}): {match['result']}".replace("|", "\\|")
        yield f"| `{call}` | {first(f'{owner}.{name}', match['doc'])} |"


def first(name: str, doc: str | None) -> str:
    if not doc:
        raise ValueError(f"{name} needs a documentation comment in clients/typescript/src")
    return plain(doc.split("\n *\n")[0])


def plain(doc: str) -> str:
    return " ".join(re.sub(r"^\s*\*+", "", doc, flags=re.MULTILINE).split()).replace("|", "\\|")


def table(left: str, right: str, rows: Iterator[str]) -> str:
    return "\n".join([f"| {left} | {right} |", "|---|---|", *rows])
