"""Export all of a tenant's data as JSON lines."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import orjson
from django.db.models import Model
from django.utils import timezone

from somamemory import deadline
from somamemory.response_size import fitting
from tenants import registry, selectors
from tenants.caller import Caller
from tenants.models import ApiKey, Tenant

VERSION = 1
BATCH = 500
# Credentials are not exported.
_SECRETS: dict[type[Model], set[str]] = {ApiKey: {"digest"}}

# Yields a tenant's rows that are stored outside the database, or have been moved back into it since the given time.
Elsewhere = Callable[[Tenant, datetime], Iterator[Model]]
_elsewhere: list[Elsewhere] = []


def also(rows: Elsewhere) -> None:
    if rows not in _elsewhere:
        _elsewhere.append(rows)


def lines(caller: Caller, slug: str) -> Iterator[bytes]:
    """Yield `{"tenant": …}`, then `{"table": …, "row": {…}}` for each row, then `{"end": {table: count}}`.

    A stream without its last line is incomplete. Unlike a backup, the export is not a snapshot: rows are read in
    batches, and a row that is moved during the export may appear twice. Raises NotFound before the first line.
    """
    tenant = selectors.get_tenant(caller, slug)
    return _lines(tenant)


def _lines(tenant: Tenant) -> Iterator[bytes]:
    header = {"slug": tenant.slug, "name": tenant.name, "created_at": tenant.created_at}
    began = timezone.now()
    yield _line({"tenant": header, "version": VERSION, "exported_at": began})
    counts: Counter[str] = Counter()
    for model in registry.tenant_models():
        if getattr(model, "exported", True):
            for row in _rows(model, tenant):
                counts[model._meta.db_table] += 1
                yield _line({"table": model._meta.db_table, "row": _columns(row)})
    for elsewhere in _elsewhere:
        for row in elsewhere(tenant, began):
            counts[row._meta.db_table] += 1
            yield _line({"table": row._meta.db_table, "row": _columns(row)})
    yield _line({"end": dict(counts)})


def _rows(model: type[Model], tenant: Tenant) -> Iterator[Model]:
    """Yield a tenant's rows, with one batch in memory at a time: `BATCH` rows, or fewer large ones."""
    rows = registry.rows(model, tenant).order_by("pk")
    sizes = ["size"] if any(field.name == "size" for field in model._meta.concrete_fields) else []
    ahead = list(rows.values_list("pk", *sizes)[:BATCH])
    while ahead:
        deadline.check()
        first, last = ahead[0][0], ahead[fitting(sum(size) for _, *size in ahead) - 1][0]
        yield from rows.filter(pk__gte=first, pk__lte=last)
        ahead = list(rows.filter(pk__gt=last).values_list("pk", *sizes)[:BATCH])


def _columns(row: Model) -> dict[str, Any]:
    hidden = _SECRETS.get(type(row), set())
    columns = {
        field.attname: _plain(field.value_from_object(row))
        for field in row._meta.concrete_fields
        if field.name != "tenant" and field.name not in hidden
    }
    if (coordinate := getattr(row, "coordinate", None)) is not None:
        columns["coord"] = coordinate.text
    return columns


def _plain(value: Any) -> Any:
    """Return bytes as base64, and all other values unchanged."""
    return base64.b64encode(value).decode() if isinstance(value, bytes | memoryview) else value


def _line(content: dict[str, Any]) -> bytes:
    return orjson.dumps(content, option=orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS)
