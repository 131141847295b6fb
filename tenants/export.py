"""All that a tenant has, as lines of JSON."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import orjson
from django.db.models import Model
from django.utils import timezone

from tenants import registry, selectors
from tenants.caller import Caller
from tenants.models import ApiKey, Tenant

VERSION = 1
BATCH = 500
# What would let somebody in.
_SECRETS: dict[type[Model], set[str]] = {ApiKey: {"digest"}}

# What the database only names: gives rows of a tenant as they would be there, with those that have come there since.
Elsewhere = Callable[[Tenant, datetime], Iterator[Model]]
_elsewhere: list[Elsewhere] = []


def also(rows: Elsewhere) -> None:
    if rows not in _elsewhere:
        _elsewhere.append(rows)


def lines(caller: Caller, slug: str) -> Iterator[bytes]:
    """`{"tenant": …}`, then `{"table": …, "row": {…}}` for each row, then `{"end": {table: count}}`.

    A stream without its last line was cut off. Each row is as it is when it is read, and one that moves meanwhile may
    come twice; a backup has one moment for all. Raises NotFound before the first line.
    """
    tenant = selectors.get_tenant(caller, slug)
    return _lines(tenant)


def _lines(tenant: Tenant) -> Iterator[bytes]:
    facts = {"slug": tenant.slug, "name": tenant.name, "created_at": tenant.created_at}
    began = timezone.now()
    yield _line({"tenant": facts, "version": VERSION, "exported_at": began})
    counts: Counter[str] = Counter()
    for model in registry.owned():
        if getattr(model, "exported", True):
            for row in _rows(model, tenant):
                counts[model._meta.db_table] += 1
                yield _line({"table": model._meta.db_table, "row": _shown(row)})
    for elsewhere in _elsewhere:
        for row in elsewhere(tenant, began):
            counts[row._meta.db_table] += 1
            yield _line({"table": row._meta.db_table, "row": _shown(row)})
    yield _line({"end": dict(counts)})


def _rows(model: type[Model], tenant: Tenant) -> Iterator[Model]:
    rows = registry.rows(model, tenant).order_by("pk")
    batch = list(rows[:BATCH])
    while batch:
        yield from batch
        batch = list(rows.filter(pk__gt=batch[-1].pk)[:BATCH])


def _shown(row: Model) -> dict[str, Any]:
    hidden = _SECRETS.get(type(row), set())
    shown = {
        field.attname: _plain(field.value_from_object(row))
        for field in row._meta.concrete_fields
        if field.name != "tenant" and field.name not in hidden
    }
    if (coordinate := getattr(row, "coordinate", None)) is not None:
        shown["coord"] = coordinate.text
    return shown


def _plain(value: Any) -> Any:
    """Bytes as base64; JSON says the rest."""
    return base64.b64encode(value).decode() if isinstance(value, bytes | memoryview) else value


def _line(content: dict[str, Any]) -> bytes:
    return orjson.dumps(content, option=orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS)
