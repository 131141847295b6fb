"""Import a file from the reference memory server (`memory.jsonl`): one entity or relation per line."""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import orjson

from api.mcp.remote_server import Unreachable
from api.mcp.stdio import Send
from somamemory.errors import InvalidInput

PROFILE = "knowledge-graph"
BATCH = 50
MAX_SHOWN = 100  # maximum number of characters shown from an item in an error message
_FIELDS = {"entity": ("name", "entityType", "observations"), "relation": ("from", "to", "relationType")}


@dataclass
class Report:
    """The number of items from the file that are now stored, and why the others are not."""

    entities: int = 0
    relations: int = 0
    errors: list[str] = field(default_factory=list)


def load(lines: Iterable[bytes], send: Send) -> Report:
    """Import the lines through the tools of the `knowledge-graph` profile, entities first. Can safely be repeated.

    Existing entities get any missing observations. If a line is neither an entity nor a relation, raises InvalidInput
    before anything is imported. Raises Unreachable if a message does not reach a tool.
    """
    items = [_parsed(number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    entities = [fields for kind, fields in items if kind == "entity"]
    relations = [fields for kind, fields in items if kind == "relation"]
    report = Report()
    for batch in _batches(entities):
        created = _accepted(send, report, "create_entities", "entities", batch)
        report.entities += len(created)
        additions = [{"entityName": item["name"], "contents": item["observations"]} for item in created]
        _accepted(send, report, "add_observations", "observations", additions)
    for batch in _batches(relations):
        report.relations += len(_accepted(send, report, "create_relations", "relations", batch))
    return report


def _parsed(number: int, line: bytes) -> tuple[str, dict[str, Any]]:
    try:
        item = orjson.loads(line.removeprefix(BOM_UTF8))
        kind = item["type"]
        return kind, {name: item[name] for name in _FIELDS[kind]}
    except (orjson.JSONDecodeError, KeyError, TypeError):
        raise InvalidInput(f"line {number}", "must be a JSON object with the type 'entity' or 'relation'") from None


def _batches(items: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    rest = iter(items)
    while batch := list(islice(rest, BATCH)):
        yield batch


def _accepted(
    send: Send, report: Report, tool: str, argument: str, items: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Send all items in one call or, if that call fails, each item in a separate call. Return the accepted items."""
    problem = _problem(send, tool, {argument: items}) if items else None
    if problem is None:
        return items
    if len(items) > 1:
        return [item for one in items for item in _accepted(send, report, tool, argument, [one])]
    report.errors.append(f"{orjson.dumps(items[0]).decode()[:MAX_SHOWN]}: {problem}")
    return []


def _problem(send: Send, tool: str, arguments: dict[str, Any]) -> str | None:
    """Call a tool. Return its error, or None. Raises Unreachable if the message does not reach the tool."""
    params = {"name": tool, "arguments": arguments}
    status, _, content = send(orjson.dumps({"jsonrpc": "2.0", "id": 0, "method": "tools/call", "params": params}), {})
    try:
        answer = orjson.loads(content)
        if "result" not in answer:
            raise Unreachable(str(answer.get("detail", answer)))
    except orjson.JSONDecodeError:
        raise Unreachable(f"the response with status {status} is not JSON; check the URL") from None
    result = answer["result"]
    return str(result["content"][0]["text"]) if result["isError"] else None
