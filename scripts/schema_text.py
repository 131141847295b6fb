"""Describe the schemas of the OpenAPI document in words, for the reference pages. scripts/reference.py writes them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

NULLABLE = ", or null"


def either(kinds: list[str]) -> str:
    """Join alternatives. A comma separates null, or another alternative, from a description that contains commas."""
    text = kinds[0]
    for kind in kinds[1:]:
        separate = "," in text or (kind == "null" and (" or " in text or " values" in text))
        text += f", or {kind}" if separate else f" or {kind}"
    return text


def without_null(kind: str) -> str:
    return kind.removesuffix(NULLABLE).removesuffix(" or null")


def is_sent(name: str, schema: Mapping[str, Any]) -> bool:
    """Return whether an object is part of a request. Only then does the page show the defaults of its fields."""
    return (
        name.endswith(("Body", "Patch"))
        or name in ("Quotas", "Policies", "Weights")
        or any("default" in field for field in schema["properties"].values())
    )


def is_coordinate(schema: Mapping[str, Any]) -> bool:
    return schema.get("format") == "coordinate"


def span(schema: Mapping[str, Any], low: str, high: str, unit: str) -> str:
    least, most = schema.get(low), schema.get(high)
    if least is None and most is None:
        return ""
    if most is None:
        return f", at least {least:,}{unit}"
    if not least and unit:
        return f", at most {most:,}{unit}"
    return f", {0 if least is None else least:,} to {most:,}{unit}" if most < 1e15 else f", at least {least:,}"


def shown_default(schema: Mapping[str, Any]) -> str:
    default = schema.get("default")
    if default in (None, "", [], {}):
        return ""
    return f"`{default if isinstance(default, str) else json.dumps(default)}`"
