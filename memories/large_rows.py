"""Read lists of memories without loading large memories that would not fit in the response.

One statement reads all rows, with the payload and metadata of the small ones. A second statement reads the large rows
that fit. A list without large rows therefore takes only one statement.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from django.db.models import Case, F, QuerySet, When

from memories.models import JsonField, Memory, MemoryColumns
from somamemory import deadline
from somamemory.db.prepared import rows_of
from somamemory.response_size import fitting

# The first statement reads the documents (payload and metadata) of rows of up to this size in bytes. The longest list
# has 1,000 rows, so these documents take at most 32 MB.
SMALL = 32_768
_DOCUMENTS = ("payload", "metadata")


@contextmanager
def documents_of(memory: MemoryColumns) -> Iterator[None]:
    """Load the payload and metadata of a row that was read without them, and discard them when the context ends."""
    missing = [name for name in _DOCUMENTS if name not in vars(memory)]
    if missing:
        memory.refresh_from_db(fields=missing)
    try:
        yield
    finally:
        for name in missing:
            del vars(memory)[name]


def outline(memories: QuerySet[Memory]) -> QuerySet[Memory]:
    """Return a query that reads the payload and metadata of small rows only. Pass its rows to `filled` before use."""
    small = {
        f"small_{name}": Case(When(size__lte=SMALL, then=F(name)), output_field=JsonField()) for name in _DOCUMENTS
    }
    return memories.defer(*_DOCUMENTS, "terms").annotate(**small)


def without_large(memories: QuerySet[Memory]) -> list[Memory]:
    """Return all rows, with the payload and metadata of small ones only. For large rows, use `documents_of`."""
    return [row if row.size > SMALL else _with_documents(row) for row in rows_of(outline(memories))]


def filled(rows: Sequence[Memory], source: QuerySet[Memory] | Callable[[], QuerySet[Memory]]) -> list[Memory]:
    """Return the rows of an `outline` with their payload and metadata.

    source: the query before ordering and slicing, or a function that returns it. Large rows are read again from this
      query, and omitted if it no longer contains them.
    """
    large = [row.seq for row in rows if row.size > SMALL]
    if not large:
        return [_with_documents(row) for row in rows]
    query = source() if callable(source) else source
    whole = {row.seq: row for row in rows_of(query.defer("terms").filter(seq__among=large))}
    return [row for row in (whole.get(row.seq) if row.size > SMALL else _with_documents(row) for row in rows) if row]


def in_order(source: QuerySet[Memory], field: str, values: Sequence[object]) -> list[Memory | None]:
    """Return the memory (or None) for each value of a unique field.

    The list ends early if the memories are too large for one response.
    """
    outlines = {getattr(row, field): row for row in rows_of(outline(source.filter(**{f"{field}__among": set(values)})))}
    count = fitting(outlines[value].size if value in outlines else 0 for value in values)
    rows = [outlines[value] for value in dict.fromkeys(values[:count]) if value in outlines]
    memories = {getattr(row, field): row for row in filled(rows, source)}
    return [memories.get(value) for value in values[:count]]


def pages(source: QuerySet[Memory], field: str, most: int) -> Iterator[list[Memory]]:
    """Yield all rows page by page, ordered by a unique field.

    A page has at most `most` rows and fits in one response.
    """
    after: object = None
    while True:
        deadline.check()
        rest = source if after is None else source.filter(**{f"{field}__gt": after})
        rows = rows_of(outline(rest).order_by(field)[:most])
        if not rows:
            return
        rows = rows[: fitting(row.size for row in rows)]
        after = getattr(rows[-1], field)
        yield filled(rows, source)


def first_fitting(memories: QuerySet[Memory], limit: int) -> list[Memory]:
    """Return as many rows from the start of an ordered list as fit in one response, but at most `limit`."""
    rows = rows_of(outline(memories)[:limit])
    return filled(rows[: fitting(row.size for row in rows)], memories)


def _with_documents(row: Memory) -> Memory:
    columns = vars(row)
    for name in _DOCUMENTS:
        columns[name] = columns.pop(f"small_{name}")
    return row
