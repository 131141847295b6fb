"""Prepared statements for the most frequent reads: the memory at a coordinate, and a page of a list."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, TypeVar

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import F, FilteredRelation, Q, QuerySet
from django.utils import timezone

from memories import large_rows
from memories.index import generations
from memories.models import EmbeddingGeneration, Memory, VectorEmbedding
from somamemory.db.prepared import Parameter, Prepared
from tenants.models import Tenant
from tenants.scoping import parameters_of

Row = TypeVar("Row")
_SHAPES = 256  # the maximum number of cached statements for list pages


@dataclass(frozen=True)
class PageShape:
    """The properties of a page that determine the text of its statement.

    lookups: the conditions without their values, such as `created_at__gt`.
    after: whether the page continues after a cursor.
    limited: whether the caller is limited to a user.
    """

    lookups: tuple[str, ...]
    order: str
    limit: int
    include_deleted: bool
    after: bool
    limited: bool = False


def memory_at(connection: BaseDatabaseWrapper, tenant: Tenant, namespace: str, key: str) -> Memory | None:
    """Return the memory at a coordinate, even if it is deleted or expired, with the columns for `index_state`."""
    generation = generations.active().id
    values = {"namespace": namespace, "coordinate_key": key, "generation": generation}
    rows = _at(tenant.only_user is not None).rows(connection, **parameters_of(tenant), **values)
    return rows[0] if rows else None


def page(connection: BaseDatabaseWrapper, shape: PageShape, tenant: Tenant, values: Mapping[str, Any]) -> list[Memory]:
    """Return the rows of a page as an outline (see `large_rows`), with the columns that `index_state` needs.

    values: the values of the lookups, and the cursor's position as `key` and `moment`.
    """
    generation, now = generations.active().id, timezone.now()
    shape = replace(shape, limited=tenant.only_user is not None)
    return _page(shape).rows(connection, **parameters_of(tenant), generation=generation, now=now, **values)


def with_index_state(memories: QuerySet[Memory], generation: EmbeddingGeneration | Parameter) -> QuerySet[Memory]:
    """Return the query with the columns that `Memory.index_state` needs."""
    row = FilteredRelation("embeddings", condition=Q(embeddings__generation=generation))
    return memories.annotate(
        row=row,
        index_due_at=F("row__due_at"),
        index_attempts=F("row__attempts"),
        indexed_version=F("row__indexed_version"),
    )


def alive(now: Any) -> Q:
    """Return the condition for memories that are neither deleted nor expired."""
    return (Q(expires_at__isnull=True) | Q(expires_at__gt=now)) & Q(deleted_at=None)


def after(order: str, key: Any, moment: Any) -> Q:
    """Return the condition for the rows after a position in a list sorted by `order`.

    key: the coordinate key of the row at that position.
    moment: if the list is sorted by a time, the time of that row.
    """
    beyond = "lt" if order.startswith("-") else "gt"
    later = Q(**{f"coordinate_key__{beyond}": key})
    time = time_of(order)
    if time is None:
        return later
    # The first condition follows from the second one. It is included so that the database can use its index.
    return Q(**{f"{time}__{beyond}e": moment}) & (Q(**{f"{time}__{beyond}": moment}) | later)


def sorted_by(memories: QuerySet[Memory, Row], order: str) -> QuerySet[Memory, Row]:
    columns = [name for name in (time_of(order), "coordinate_key") if name]
    return memories.order_by(*(f"-{name}" if order.startswith("-") else name for name in columns))


def time_of(order: str) -> str | None:
    """Return the name of the time field that a list is sorted by, or None if it is sorted by coordinate."""
    return None if order.endswith("coordinate") else order.lstrip("-")


def _parameter(name: str, field: str) -> Parameter:
    return Parameter(name, Memory, field)


@lru_cache
def _at(limited: bool) -> Prepared[Memory]:
    return Prepared(lambda: _build_at(limited))


def _build_at(limited: bool) -> QuerySet[Memory]:
    places = {name: _parameter(name, name) for name in ("namespace", "coordinate_key")}
    memories = Memory.objects.of_parameter(limited=limited).filter(**places).defer("terms").order_by()
    return with_index_state(memories, Parameter("generation", VectorEmbedding, "generation"))


@lru_cache(_SHAPES)
def _page(shape: PageShape) -> Prepared[Memory]:
    return Prepared(lambda: _build_page(shape))


def _build_page(shape: PageShape) -> QuerySet[Memory]:
    lookups = {lookup: _parameter(lookup, lookup.partition("__")[0]) for lookup in shape.lookups}
    memories = Memory.objects.of_parameter(limited=shape.limited).filter(**lookups)
    if not shape.include_deleted:
        memories = memories.filter(alive(_parameter("now", "expires_at")))
    if shape.after:
        moment = _parameter("moment", time_of(shape.order) or "created_at")
        memories = memories.filter(after(shape.order, _parameter("key", "coordinate_key"), moment))
    memories = with_index_state(memories, Parameter("generation", VectorEmbedding, "generation"))
    return sorted_by(large_rows.outline(memories), shape.order)[: shape.limit]
