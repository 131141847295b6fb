"""Translate filters from Sekha's clients into message filters.

Sekha's server ignores most filters, so each client uses its own names. As in our own routes, unknown names are
rejected.
"""

from __future__ import annotations

from api.compat.changes import Changes
from api.compat.sekha.requests import a_time
from api.json import JsonObject

# Maps the client's name to our field and operator.
_FIELDS = {
    "labels": ("label", "in"),
    "filter_labels": ("label", "in"),
    "folders": ("folder", "in"),
    "conversation_ids": ("conversation_id", "in"),
    "date_from": ("timestamp", "gte"),
    "date_to": ("timestamp", "lte"),
    "start_date": ("timestamp", "gte"),
    "end_date": ("timestamp", "lte"),
    "importance_min": ("conversation_importance", "gte"),
    "importance_max": ("conversation_importance", "lte"),
}


def translated_filters(body: JsonObject) -> object:
    """Return a query's filters, including the `filter_labels` that sekha-mcp sends."""
    filters = body.get("filters")
    labels = body.get("filter_labels")
    if not isinstance(filters, dict | None):
        return filters  # our route rejects it
    named = {**(filters or {}), **({"filter_labels": labels} if labels else {})}
    conditions = [_condition(name, value) for name, value in named.items() if value is not None]
    if len(conditions) < 2:
        return conditions[0] if conditions else None
    return {"AND": conditions}


def _condition(name: str, value: object) -> JsonObject:
    if name not in _FIELDS:
        return {name: value}
    field, operator = _FIELDS[name]
    if operator == "in" and isinstance(value, str):
        value = [value]
    if field == "timestamp":
        value = a_time(value, name, Changes())
    return {field: {operator: value}}
