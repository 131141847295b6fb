"""Generate the reference pages for the REST API, error codes and commands, and the client's types, from the code.

    python scripts/reference.py            write docs/reference/ and the client's types
    python scripts/reference.py --check    exit with status 1 if a file is out of date

`make reference` runs this script. tests/contract/test_reference.py fails if a page is out of date.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

from schema_text import either, is_coordinate, is_sent, shown_default, span, without_null  # noqa: E402 - see above

PAGES = ROOT / "docs" / "reference"
GENERATED = "<!-- Written by scripts/reference.py. Do not edit: run `make reference`. -->\n"

# Maps each route tag to (page, title, introduction).
TAGS = {
    "memories": (
        "memories",
        "Memories",
        "Store, fetch, change, list and delete memories ([guide](../../how-to/memories.md)).",
    ),
    "namespaces": (
        "namespaces",
        "Namespaces",
        "List, rename and delete namespaces ([guide](../../how-to/users.md)).",
    ),
    "search": ("search", "Search", "Search memories by meaning and keyword ([guide](../../how-to/search.md))."),
    "graph": ("graph", "Graph", "Create, follow and export links ([guide](../../how-to/links.md))."),
    "conversations": (
        "conversations",
        "Conversations and context",
        "Record conversations and search their messages ([guide](../../how-to/conversations.md)), and assemble context "
        "for a prompt ([guide](../../how-to/context.md)).",
    ),
    "curation": (
        "enrichment",
        "Enrichment and lifecycle",
        "Summarise and label conversations, rate messages, extract facts, and archive unused conversations "
        "([guide](../../how-to/enrichment.md)).",
    ),
    "transfer": (
        "transfer",
        "Import and export",
        "Import and export conversations ([guide](../../how-to/import-export.md)).",
    ),
    "operators": (
        "operators",
        "Tenants, keys and jobs",
        "Manage tenants, keys and jobs ([guide](../../how-to/tenants.md)).",
    ),
    "health": (
        "health",
        "Health and metrics",
        "Check the service's health and read its metrics ([guide](../../operations/monitoring.md)). No key is needed.",
    ),
}
WORDS = tomllib.loads((ROOT / "api" / "contract" / "texts.toml").read_text(encoding="utf-8"))
COMMON: list[str] = WORDS["common"]
REMEDIES: dict[str, str] = WORDS["remedies"]
ROUTES: dict[str, list[str]] = WORDS["routes"]  # error codes, or names of GROUPS
GROUPS: dict[str, list[str]] = WORDS["groups"]
# Headers that every route accepts: docs/reference/rest-api.md describes them.
COMMON_HEADERS = ("X-Tenant", "traceparent")
BODY = ("length_required", "payload_too_large", "unsupported_media_type")
Route = tuple[str, str]  # the method and the path
ONCE = ("still_running", "idempotency_key_reused")
SIMPLE = re.compile(r"^(string|object|integer|number|boolean|coordinate|uuid)\b")


# --- error codes


def error_classes() -> dict[str, list[type[Any]]]:
    """Return the error classes by code, in the order of `somamemory/errors.py`, with the most severe status last."""
    from somamemory import errors
    from somamemory.web import gunicorn_errors

    found: dict[str, list[type[Any]]] = {}
    for module in (errors, gunicorn_errors):
        for value in vars(module).values():
            if (
                isinstance(value, type)
                and issubclass(value, errors.SomaError)
                and value not in found.get(value.code, [])
            ):
                found.setdefault(value.code, []).append(value)
    return found


def errors_page() -> str:
    rows = ["| code | status | title | what to do |", "|---|---|---|---|"]
    by_status = sorted(error_classes().items(), key=lambda item: (item[1][0].status, item[0]))
    for code, classes in by_status:
        statuses = ", ".join(sorted({str(kind.status) for kind in classes}))
        rows.append(f"| `{code}` | {statuses} | {classes[0].title} | {REMEDIES[code]} |")
    return (
        "# Error codes\n\n"
        "Every error response is `application/problem+json` (RFC 9457). Programs should use `code`, which is stable.\n"
        "`title` and `detail` are for people, and their wording may change.\n\n"
        "```json\n"
        '{"type": "urn:somamemory:problem:invalid_input", "title": "Invalid input", "status": 422,\n'
        ' "detail": "top_k: must be 200 or less", "code": "invalid_input", "request_id": "5f0c…",\n'
        ' "errors": [{"field": "top_k", "message": "must be 200 or less"}]}\n'
        "```\n\n"
        "If fields are invalid, `errors` lists them. Responses with status 429 or 503 have a `Retry-After` header.\n\n"
        + "\n".join(rows)
        + "\n\n## Codes that every route can return\n\n"
        "Every route that requires a key can return any of these codes: "
        + ", ".join(f"`{code}`" for code in COMMON)
        + ".\nThe pages of the [REST API reference](rest-api.md) list only additional codes.\n"
    )


# --- routes


class Page:
    """Generates the page for the routes with one tag, including the objects in their requests and responses."""

    def __init__(self, contract: Mapping[str, Any], needs: Mapping[Route, str], policies: Mapping[Route, Any]) -> None:
        self.objects: Mapping[str, Any] = contract["components"]["schemas"]
        self.needs = needs
        self.policies = policies
        self.used: list[str] = []

    def text(self, title: str, introduction: str, routes: list[tuple[str, str, Mapping[str, Any]]]) -> str:
        entries = [self.entry(method, path, operation) for method, path, operation in routes]
        objects = list(self.described())
        parts = [
            f"# {title}",
            f"{introduction} [REST API](../rest-api.md) explains scopes, rate-limit classes and errors.",
        ]
        return "\n\n".join([*parts, *entries, "## Objects", *objects]) + "\n"

    def entry(self, method: str, path: str, operation: Mapping[str, Any]) -> str:
        parts = [f"## `{method} {path}`", sentence(operation.get("description") or operation["summary"])]
        policy = self.policies[method, path]
        parts.append(f"**Scope**: {scope(self.needs[method, path])} · **Rate-limit class**: `{policy.kind}`")
        if parameters := [item for item in operation["parameters"] if item["name"] not in COMMON_HEADERS]:
            parts += ["**Parameters**", self.parameters(f"{method} {path}", parameters)]
        if body := operation.get("requestBody"):
            parts.append(f"**Body**: {self.contents(body['content'])}")
        answers = [(int(status), answer) for status, answer in operation["responses"].items()]
        good = [
            f"`{status}` {self.contents(answer.get('content', {}))}".strip()
            for status, answer in answers
            if status < 400
        ]
        parts.append("**Response**: " + "; ".join(good))
        if codes := error_codes(method, path, operation, policy, self.objects):
            parts.append("**Errors**: " + ", ".join(f"`{code}`" for code in codes))
        return "\n\n".join(parts)

    def parameters(self, route: str, parameters: list[Mapping[str, Any]]) -> str:
        rows = ["| name | in | type | default | meaning |", "|---|---|---|---|---|"]
        for parameter in parameters:
            default = "required" if parameter.get("required") else shown_default(parameter["schema"])
            kind = without_null(self.kind(parameter["schema"]))  # a query string cannot contain null
            name = parameter["name"]
            rows.append(f"| `{name}` | {parameter['in']} | {kind} | {default} | {meaning(route, name)} |")
        return "\n".join(rows)

    def contents(self, content: Mapping[str, Any]) -> str:
        kinds = []
        for media, value in content.items():
            kind = self.kind(value.get("schema", {}))
            kinds.append(kind if media == "application/json" else f"`{media}`")
        return ", ".join(dict.fromkeys(kinds))

    def described(self) -> Iterator[str]:
        for name in self.used:  # `used` grows when an object refers to others
            schema = self.objects[name]
            about = sentence(schema["description"]) + "\n\n" if schema.get("description") else ""
            fields = self.sent(name, schema) if is_sent(name, schema) else self.received(name, schema)
            yield f"### {name}\n\n{about}" + "\n".join(fields)

    def sent(self, name: str, schema: Mapping[str, Any]) -> Iterator[str]:
        yield from ("| field | type | default | meaning |", "|---|---|---|---|")
        for field, value in schema["properties"].items():
            default = "required" if field in schema.get("required", ()) else shown_default(value)
            yield f"| `{field}` | {self.kind(value)} | {default} | {meaning(name, field)} |"

    def received(self, name: str, schema: Mapping[str, Any]) -> Iterator[str]:
        yield from ("| field | type | meaning |", "|---|---|---|")
        for field, value in schema["properties"].items():
            yield f"| `{field}` | {self.kind(value)} | {meaning(name, field)} |"

    def kind(self, schema: Mapping[str, Any]) -> str:
        """Describe a value's type, with links to the objects that the value contains."""
        if "$ref" in schema:
            name = schema["$ref"].rsplit("/", 1)[1]
            if name not in self.used:
                self.used.append(name)
            return f"[{name}](#{name.lower()})"
        if is_coordinate(schema):
            return "coordinate"
        for several in ("allOf", "anyOf", "oneOf"):
            if several in schema:
                kinds = [self.kind(part) for part in schema[several]]
                return either(list(dict.fromkeys(kinds)))
        if "enum" in schema:
            *values, last = (f"`{value}`" for value in schema["enum"])
            return f"{', '.join(values)} or {last}" if values else last
        return self.simple(schema)

    def simple(self, schema: Mapping[str, Any]) -> str:
        kind = schema.get("type", "JSON")
        if kind == "array":
            items = SIMPLE.sub(r"\1s", self.kind(schema.get("items", {}))).replace("strings, ", "strings of ")
            return f"list of {items}" + span(schema, "minItems", "maxItems", " items")
        if kind == "object":
            more = schema.get("additionalProperties")
            return f"object with {self.kind(more)} values" if isinstance(more, dict) and more else "object"
        if kind == "string":
            return str(schema.get("format", "string")) + span(schema, "minLength", "maxLength", " characters")
        low, high = ("minimum", "maximum") if "minimum" in schema or "maximum" in schema else ("ge", "le")
        return str(kind) + span(schema, low, high, "")


def scope(need: str) -> str:
    return {"nothing": "none, no key needed", "operator": "an operator's key"}.get(need, f"`{need}`")


def sentence(text: str) -> str:
    return re.sub(r"(?<!\n)\n(?!\n)", " ", text.strip())


def meaning(owner: str, name: str) -> str:
    from api.contract import texts

    return texts.meaning(owner, name)


def error_codes(
    method: str, path: str, operation: Mapping[str, Any], policy: Any, objects: Mapping[str, Any]
) -> list[str]:
    """Return the error codes that a route may return in addition to `COMMON`, ordered by status."""
    names = {parameter["name"] for parameter in operation.get("parameters", ())}
    for value in operation.get("requestBody", {}).get("content", {}).values():
        reference = value.get("schema", {}).get("$ref", "").rsplit("/", 1)[-1]
        names |= set(objects.get(reference, {}).get("properties", {}))
    codes = {code for name in ROUTES.get(f"{method} {path}", ()) for code in GROUPS.get(name, [name])}
    if names & {"coord", "coords", "from_coord", "prefix", "near", "box", "items", "links"}:
        codes.add("invalid_coordinate")
    if "{" in path or names & {"conversation_id", "conversation_ids"}:
        codes.add("not_found")
    if "requestBody" in operation:
        codes.update(BODY)
    if policy.idempotent:
        codes.update(ONCE)
    if policy.conditional and policy.writes:
        codes.add("precondition_failed")
    statuses = {code: classes[0].status for code, classes in error_classes().items()}
    return sorted(codes, key=lambda code: (statuses[code], code))


def route_pages() -> Iterator[tuple[str, str]]:
    from api.app import api
    from api.routing import policies
    from tests.support.every_route import NEEDS

    contract = dict(api.get_openapi_schema(path_prefix="/"))
    by_tag: dict[str, list[tuple[str, str, Mapping[str, Any]]]] = {tag: [] for tag in TAGS}
    for path, methods in contract["paths"].items():
        for method, operation in methods.items():
            by_tag[operation["tags"][0]].append((method.upper(), "/" + path.lstrip("/"), operation))
    for tag, (name, title, introduction) in TAGS.items():
        yield f"api/{name}.md", Page(contract, NEEDS, policies).text(title, introduction, by_tag[tag])


# --- writing


def pages() -> dict[Path, str]:
    """Return the text of every generated file, by path."""
    found = dict(route_pages())
    found["errors.md"] = errors_page()
    found["commands.md"] = commands_page()
    found["python-client.md"] = client_page()
    found["typescript-client.md"] = typescript_page()
    return {PAGES / name: text + "\n" + GENERATED for name, text in found.items()} | client_files()


def commands_page() -> str:
    import command_reference

    return command_reference.page(sentence)


def client_page() -> str:
    import client_reference

    return client_reference.page()


def typescript_page() -> str:
    import typescript_reference

    return typescript_reference.page()


def client_files() -> dict[Path, str]:
    """Return the Python client's generated files."""
    import client_sync
    import client_types

    from api.app import api

    contract = dict(api.get_openapi_schema(path_prefix="/"))
    return client_types.formatted(client_types.files(contract, error_classes()) | client_sync.files())


def stale() -> list[Path]:
    return [path for path, text in pages().items() if not path.is_file() or path.read_text(encoding="utf-8") != text]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit with status 1 if a page is out of date"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SOMA_DATA_DIR"] = folder
        os.environ["DJANGO_SETTINGS_MODULE"] = "somamemory.settings"
        sys.path.insert(0, str(ROOT))
        import django

        django.setup()
        if options.check:
            changed = stale()
            print("\n".join(str(path.relative_to(ROOT)) for path in changed))
            return 1 if changed else 0
        write(client_files())  # the client's reference page describes these files
        write(pages())
    return 0


def write(texts: Mapping[Path, str]) -> None:
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
