"""Readable columns and fields: times in the reader's time zone, not UTC, and names such as "ID" instead of "Id"."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from django.core.exceptions import FieldDoesNotExist
from django.db.models import DateTimeField, Model

from console.templatetags.humane import moment

NAMES = {
    "id": "ID",
    "user_id": "user ID",
    "redirect_uri": "redirect URI",
    "resource": "resource URL",
    "created_at": "created",
    "updated_at": "changed",
    "expires_at": "expires",
    "finished_at": "finished",
}
Column = str | Callable[[Any], Any]


@cache
def readable(model: type[Model], name: Column) -> Column:
    """Return a readable column, with times in the reader's time zone, or the given name if no such column is needed.

    The same arguments always give the same object, because Django compares form columns by identity.
    """
    if not isinstance(name, str):
        return name
    try:
        field = model._meta.get_field(name)
    except FieldDoesNotExist:  # a method
        return name
    is_time = isinstance(field, DateTimeField)
    if not is_time and name not in NAMES:
        return name

    def column(row: Any) -> Any:
        value = getattr(row, name)
        return moment(value) if is_time and value is not None else value

    column.__name__ = name
    column.short_description = NAMES.get(name, str(getattr(field, "verbose_name", name)))  # type: ignore[attr-defined]
    return column
