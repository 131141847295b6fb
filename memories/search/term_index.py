"""Query the database's full-text index: find memories by combinations of terms, and count memories per term.

The database updates the index in the same transaction as each change. Both databases index the same terms
(`Memory.terms`). A query reads only entries for its own tenant and namespaces:

- SQLite: each term begins with the number of its scope, which identifies a tenant and a namespace. The scopes table
  also contains the numbers of memories and words. The index also contains terms for fields (`filters.fields`).
- PostgreSQL: each memory's entry also contains a word that identifies its scope.

No quoting is needed: a term contains only letters and digits (`search.analyzer`), and a namespace contains no quotes or
backslashes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from django.db.backends.base.base import BaseDatabaseWrapper

from memories.index.base import IdHalves
from memories.search import known_ids
from tenants.models import Tenant

# Terms, all of which a memory must contain. A term that ends with a star is a prefix.
Clause = tuple[str, ...]
PREFIX = "*"
# If the namespaces contain more memories than this, PostgreSQL estimates their number and how often common terms occur.
COUNTED = 20_000
SAMPLE = 4_000
_SAMPLED_SHARE = 1 / 16  # the fraction of memories in the sample: those whose random id begins with a zero
_NEWEST = 1_000
# The templates and operators of a full-text expression; see `_any`.
_SQLITE = ('"~§{}"', '"~§{}" *'), " AND ", " OR "

_SCOPE = """
    SELECT id, documents, words FROM sfm_memory_terms_scopes
    WHERE tenant_id = %s AND namespace IN (SELECT value FROM json_each(%s))
"""
# In the expression for MATCH, `~` stands for the scope's number.
_SQLITE_MATCH = f"""
    sfm_memory_terms_scoped MATCH (
        SELECT coalesce(group_concat(replace(%s, '~', id), ' OR '), '""') FROM ({_SCOPE})
    )
"""  # noqa: S608 - constants
_SQLITE_MATCHING = f"""
    sfm_memory_terms_scoped CROSS JOIN sfm_memories ON sfm_memories.seq = sfm_memory_terms_scoped.rowid
    AND {_SQLITE_MATCH}
"""
_SQLITE_COUNT = f"SELECT count(*) FROM (SELECT 1 FROM sfm_memory_terms_scoped WHERE {_SQLITE_MATCH} LIMIT %s)"  # noqa: S608
# A JSON list is faster to read than the same number of rows.
_SQLITE_SEQS = f"""
    SELECT json_group_array(rowid) FROM (SELECT rowid FROM sfm_memory_terms_scoped WHERE {_SQLITE_MATCH} LIMIT %s)
"""  # noqa: S608
_SQLITE_COUNTS = f"""
    WITH scope AS MATERIALIZED ({_SCOPE})
    SELECT NULL, coalesce(sum(documents), 0), coalesce(sum(words), 0) FROM scope
    UNION ALL
    SELECT terms.value, sum(frequencies.doc), 0
    FROM json_each(%s) AS terms CROSS JOIN scope CROSS JOIN sfm_memory_terms_frequencies AS frequencies
    ON frequencies.term = scope.id || '§' || terms.value
    GROUP BY terms.value
"""  # noqa: S608
_POSTGRESQL_MATCHING = "(SELECT * FROM sfm_memories WHERE terms_vector @@ %s::tsquery OFFSET 0) AS sfm_memories"
_POSTGRESQL_COUNTS = """
    SELECT term, (SELECT count(*) FROM sfm_memories WHERE terms_vector @@ (%s || term)::tsquery)
    FROM unnest(%s::text[]) AS term
"""
_POSTGRESQL_SIZE = """
    SELECT
        (SELECT count(*) FROM (
            SELECT FROM sfm_memories WHERE tenant_id = %s AND namespace = ANY(%s::text[]) LIMIT %s
        ) AS counted),
        (SELECT avg(CASE terms WHEN '' THEN 0 ELSE length(terms) - length(replace(terms, ' ', '')) + 1 END) FROM (
            SELECT terms FROM sfm_memories WHERE tenant_id = %s AND namespace = ANY(%s::text[])
            ORDER BY created_at DESC LIMIT %s
        ) AS newest)
"""
_IN_SAMPLE = """
    FROM sfm_memories
    WHERE tenant_id = %s AND namespace = ANY(%s::text[]) AND id < '10000000-0000-0000-0000-000000000000'
"""


# SQLite can read the full-text index in this order. If the order were by sfm_memories.seq instead, which has the same
# values, SQLite would sort all rows.
_NEWEST_FIRST = {"sqlite": "sfm_memory_terms_scoped.rowid DESC", "postgresql": "sfm_memories.seq DESC"}


@dataclass(frozen=True)
class Size:
    """The number of memories in some namespaces, and their average number of terms."""

    documents: int
    average_length: float


def matching(
    connection: BaseDatabaseWrapper,
    tenant: Tenant,
    namespaces: Sequence[str],
    clauses: Iterable[Clause],
    fields: Sequence[Clause] = (),
) -> tuple[str, list[Any]]:
    """Return a table expression for the memories that contain all terms of at least one clause, and its parameters.

    The table expression is named sfm_memories. On SQLite, all of the memories belong to the tenant and the namespaces.
    On PostgreSQL, the caller must check both.

    fields: additional clauses, for SQLite only. If there are any, the memories must also contain all terms of at least
      one of them.
    """
    if connection.vendor == "sqlite":
        expression = f"({_of_sqlite(clauses)}) AND ({_of_sqlite(fields)})" if fields else _of_sqlite(clauses)
        return _SQLITE_MATCHING, [expression, tenant.id.hex, json.dumps(namespaces)]
    expression = _any(clauses, ("'{}'", "'{}':*"), " & ", " | ")
    return _POSTGRESQL_MATCHING, [f"{_scopes(tenant, namespaces)} & ({expression})"]


def count(
    connection: BaseDatabaseWrapper, tenant: Tenant, namespaces: Sequence[str], fields: Sequence[Clause], most: int
) -> int:
    """Count the memories, including deleted ones, that contain all terms of at least one clause, up to `most`.

    For SQLite only.
    """
    with connection.cursor() as cursor:
        cursor.execute(_SQLITE_COUNT, [_of_sqlite(fields), tenant.id.hex, json.dumps(namespaces), most])
        found: int = cursor.fetchone()[0]
        return found


def ids(
    connection: BaseDatabaseWrapper, tenant: Tenant, namespaces: Sequence[str], fields: Sequence[Clause], most: int
) -> IdHalves:
    """Return the ids of up to `most` of the memories that `count` counts. For SQLite only."""
    with connection.cursor() as cursor:
        cursor.execute(_SQLITE_SEQS, [_of_sqlite(fields), tenant.id.hex, json.dumps(namespaces), most])
        found: list[int] = orjson.loads(cursor.fetchone()[0])
    return known_ids.of(connection, found)


def newest_first(connection: BaseDatabaseWrapper) -> str:
    """Return the SQL expression that sorts the rows of `matching` from newest to oldest."""
    return _NEWEST_FIRST[connection.vendor]


def sqlite_counts(
    connection: BaseDatabaseWrapper, tenant: Tenant, namespaces: Sequence[str], terms: Sequence[str]
) -> tuple[Size, dict[str, int]]:
    """Return the size of the namespaces and the number of memories that contain each term."""
    with connection.cursor() as cursor:
        cursor.execute(_SQLITE_COUNTS, [tenant.id.hex, json.dumps(namespaces), json.dumps(terms)])
        (_, documents, words), *counted = cursor.fetchall()
    frequencies = dict.fromkeys(terms, 0) | {term: count for term, count, _ in counted}
    return Size(documents, words / documents if documents else 0.0), frequencies


def postgresql_counts(
    connection: BaseDatabaseWrapper, tenant: Tenant, namespaces: Sequence[str], terms: Sequence[str]
) -> dict[str, int]:
    """Return the number of memories that contain each term."""
    with connection.cursor() as cursor:
        cursor.execute(_POSTGRESQL_COUNTS, [f"{_scopes(tenant, namespaces)} & ", list(terms)])
        return dict(cursor.fetchall())


def postgresql_size(connection: BaseDatabaseWrapper, tenant: Tenant, namespaces: Sequence[str]) -> Size:
    """Return the size of the namespaces. The number of memories is exact up to `COUNTED`, and estimated above it."""
    places: list[Any] = [tenant.id, list(namespaces)]
    with connection.cursor() as cursor:
        cursor.execute(_POSTGRESQL_SIZE, [*places, COUNTED + 1, *places, _NEWEST])
        documents, average_length = cursor.fetchone()
        if documents > COUNTED:
            cursor.execute(f"SELECT count(*) {_IN_SAMPLE}", places)
            documents = max(documents, round(cursor.fetchone()[0] / _SAMPLED_SHARE))
    return Size(documents, float(average_length or 0.0))


def postgresql_sample(connection: BaseDatabaseWrapper, tenant: Tenant, namespaces: Sequence[str]) -> list[str]:
    """Return the `terms` columns of up to `SAMPLE` random memories."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT terms {_IN_SAMPLE} ORDER BY id LIMIT %s", [tenant.id, list(namespaces), SAMPLE])
        return [terms for (terms,) in cursor.fetchall()]


def _of_sqlite(clauses: Iterable[Clause]) -> str:
    """Return the clauses as an expression for FTS5.

    FTS5 reads the list of memories with a term as often as the expression contains the term. A term with which several
    clauses begin is therefore written only once.
    """
    rests: dict[str, list[Clause]] = {}
    for first, *rest in clauses:
        rests.setdefault(first, []).append(tuple(rest))
    written = (
        _any([(first,)], *_SQLITE) + (f" AND ({_any(rest, *_SQLITE)})" if all(rest) else "")
        for first, rest in rests.items()
    )
    return " OR ".join(f"({part})" for part in written)


def _any(clauses: Iterable[Clause], quoted: tuple[str, str], all_of: str, any_of: str) -> str:
    """Return the clauses as a full-text expression for the database.

    quoted: the templates for a term and for a prefix.
    all_of, any_of: the operators.
    """
    written = (
        all_of.join(quoted[term.endswith(PREFIX)].format(term.removesuffix(PREFIX)) for term in clause)
        for clause in clauses
    )
    return any_of.join(f"({clause})" for clause in written)


def _scopes(tenant: Tenant, namespaces: Sequence[str]) -> str:
    words = " | ".join(f"'§scope{tenant.id.hex}x{namespace}'" for namespace in namespaces)
    return f"({words})"
