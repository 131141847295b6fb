"""Import the file of the reference server for memory (`memory.jsonl`): one entity or relation per line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import orjson

from api.mcp.stdio import Send
from somamemory.errors import InvalidInput

PROFILE = "knowledge-graph"
BATCH = 50
_FIELDS = {"entity": ("name", "entityType", "observations"), "relation": ("from", "to", "relationType")}


@dataclass
class Report:
    entities: int = 0
    relations: int = 0
    errors: list[str] = field(default_factory=list)


def load(lines: Iterable[bytes], send: Send) -> Report:
    """Import the lines through the tools of the profile `knowledge-graph`, entities first. May be repeated.

    Existing entities get any missing observations. Raises InvalidInput for a line that is neither an entity
    nor a relation, before anything is imported.
    """
    items = [_parsed(number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    entities = [fields for kind, fields in items if kind == "entity"]
    relations = [fields for kind, fields in items if kind == "relation"]
    report = Report()
    for batch in _batches(entities):
        report.entities += len(_call(send, report, "create_entities", {"entities": batch}).get("entities", ()))
        additions = [{"entityName": item["name"], "contents": item["observations"]} for item in batch]
        _call(send, report, "add_observations", {"observations": additions})
    for batch in _batches(relations):
        report.relations += len(_call(send, report, "create_relations", {"relations": batch}).get("relations", ()))
    return report


def _parsed(number: int, line: bytes) -> tuple[str, dict[str, Any]]:
    try:
        item = orjson.loads(line)
        kind = item["type"]
        return kind, {name: item[name] for name in _FIELDS[kind]}
    except (orjson.JSONDecodeError, KeyError, TypeError):
        raise InvalidInput(f"line {number}", "must be a JSON object of the type entity or relation") from None


def _batches(items: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    rest = iter(items)
    while batch := list(islice(rest, BATCH)):
        yield batch


def _call(send: Send, report: Report, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
    params = {"name": tool, "arguments": arguments}
    message = {"jsonrpc": "2.0", "id": 0, "method": "tools/call", "params": params}
    answer = orjson.loads(send(orjson.dumps(message), {})[2])
    result = answer.get("result", {"isError": True, "content": [{"text": str(answer.get("detail", answer))}]})
    if result["isError"]:
        report.errors.append(result["content"][0]["text"])
        return {}
    content: dict[str, Any] = result["structuredContent"]
    return content
