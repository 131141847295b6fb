"""Row-level security: PostgreSQL itself hides other tenants' rows, even from a query without a tenant.

Every table with a tenant has two policies. Requests use the `soma_tenant` role, which can access only the rows of the
tenant that the `soma.tenant` setting names, or no rows if it names none. Commands and scheduled work run as the table
owner, which can access all rows. `somamemory.db.tenant_scope` chooses the role for each statement.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from somamemory.db import vector_tables
from somamemory.db.tenant_scope import ROLE
from somamemory.errors import ConfigurationError
from tenants.models import Tenant
from tenants.registry import tenant_models

# A condition that is not leakproof cannot use an index under a policy: full-text and JSON filters would read every row
# that belongs to the tenant. Neither function reveals its arguments in an error.
MATCHING = ("ts_match_vq(tsvector, tsquery)", "jsonb_contains(jsonb, jsonb)")
_OF_TENANT, _OF_ALL = "soma_tenant_rows", "soma_all_rows"
# A sub-select is evaluated once per statement instead of once per row.
_CURRENT = "(SELECT NULLIF(current_setting('soma.tenant', true), '')::uuid)"
# Tables that requests read but that have no tenant.
_SHARED = ("sfm_embedding_generations",)


@dataclass(frozen=True)
class Table:
    """A protected table, and its column with the tenant's id."""

    name: str
    column: str


def tables() -> list[Table]:
    """Return the tables of all models that belong to a tenant, and the tenants table."""
    owned = [Table(model._meta.db_table, "tenant_id") for model in tenant_models()]
    return [*owned, Table(Tenant._meta.db_table, "id")]


def _tables_in(connection: BaseDatabaseWrapper) -> list[Table]:
    """Return the tables of the models and those of the vector index."""
    return [*tables(), *(Table(name, "tenant_id") for name in vector_tables.names(connection))]


def preparation(role: str) -> str:
    """Return the statements that a superuser has to run once per database."""
    functions = "".join(f"ALTER FUNCTION pg_catalog.{function} LEAKPROOF;\n" for function in MATCHING)
    return f"CREATE ROLE {ROLE} NOLOGIN;\nGRANT {ROLE} TO {role};\n{functions}"


def install(using: str = DEFAULT_DB_ALIAS) -> list[str]:
    """Bring all policies up to date, and return the names of the changed tables.

    Safe to run again. Raises ConfigurationError if a superuser has to prepare the database first.
    """
    connection = _postgresql(using)
    prepare(using)
    changed = []
    for table in _tables_in(connection):
        if table.name in _unprotected(connection):
            with transaction.atomic(using):
                _protect(connection, table)
            changed.append(table.name)
    _grant(connection)
    return changed


def remove(using: str = DEFAULT_DB_ALIAS) -> None:
    """Remove all policies. The role and its grants stay, so that a process that still uses them keeps working."""
    connection = _postgresql(using)
    for table in _tables_in(connection):
        with transaction.atomic(using):
            _run(
                connection,
                *(f'DROP POLICY IF EXISTS {policy} ON "{table.name}"' for policy in (_OF_TENANT, _OF_ALL)),
                f'ALTER TABLE "{table.name}" NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY',
            )


def prepare(using: str = DEFAULT_DB_ALIAS) -> None:
    """Create the role and make the functions leakproof, if the login role has the necessary privileges.

    Raises ConfigurationError, with the statements for a superuser, if something is missing.
    """
    connection = _postgresql(using)
    role, superuser, creates_roles = _query(
        connection, "SELECT quote_ident(rolname), rolsuper, rolcreaterole FROM pg_roles WHERE rolname = current_user"
    )[0]
    if superuser or creates_roles:
        if not _query(connection, "SELECT 1 FROM pg_roles WHERE rolname = %s", ROLE):
            _run(connection, f"CREATE ROLE {ROLE} NOLOGIN")
        if not _may_set_role(connection):
            _run(connection, f"GRANT {ROLE} TO {role}")
    if superuser:
        _run(connection, *(f"ALTER FUNCTION pg_catalog.{name} LEAKPROOF" for name in _leaking(connection)))
    if not _may_set_role(connection) or _leaking(connection):
        raise ConfigurationError(
            "a superuser must prepare this database for row-level security; run these statements in it, and try "
            "again:\n\n" + preparation(role)
        )


def is_installed(using: str = DEFAULT_DB_ALIAS) -> bool:
    """Return whether requests can be served under the policies."""
    connection = _postgresql(using)
    return _may_set_role(connection) and not _unprotected(connection)


def missing(using: str = DEFAULT_DB_ALIAS) -> list[str]:
    """Return one sentence for each missing part of the protection."""
    connection = _postgresql(using)
    lacks = [f"table {name} has no policies" for name in _unprotected(connection)]
    if not _may_set_role(connection):
        lacks.append(f"role {ROLE} is missing or not granted to this role")
    return lacks + [f"function {name} is not leakproof, so it cannot use an index" for name in _leaking(connection)]


def after_migrate(using: str, **signal: object) -> None:
    """Protect the tables that a migration has created, if row-level security is on."""
    if settings.ROW_LEVEL_SECURITY and connections[using].vendor == "postgresql":
        install(using)


def _postgresql(using: str) -> BaseDatabaseWrapper:
    connection = connections[using]
    if connection.vendor != "postgresql":
        raise ConfigurationError("row-level security requires PostgreSQL; set SOMA_DATABASE_URL")
    return connection


def _protect(connection: BaseDatabaseWrapper, table: Table) -> None:
    _run(
        connection,
        f'ALTER TABLE "{table.name}" ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY',
        *(f'DROP POLICY IF EXISTS {policy} ON "{table.name}"' for policy in (_OF_TENANT, _OF_ALL)),
        f'CREATE POLICY {_OF_TENANT} ON "{table.name}" TO {ROLE} USING ("{table.column}" = {_CURRENT})',
        f'CREATE POLICY {_OF_ALL} ON "{table.name}" TO CURRENT_USER USING (true)',
    )


def _grant(connection: BaseDatabaseWrapper) -> None:
    """Grant the role access to the tables that requests need, but not to those of the console or Django."""
    models = [model._meta.db_table for model in tenant_models() if model._meta.app_label != "console"]
    owned = ", ".join(f'"{name}"' for name in (*models, *vector_tables.names(connection)))
    shared = ", ".join((*_SHARED, Tenant._meta.db_table))
    _run(
        connection,
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON {owned} TO {ROLE}",
        f"GRANT SELECT ON {shared} TO {ROLE}",
        f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {ROLE}",
    )


def _unprotected(connection: BaseDatabaseWrapper) -> set[str]:
    """Return the names of existing tables that lack a policy or do not force row-level security."""
    rows = _query(
        connection,
        "SELECT relname FROM pg_class WHERE relname = ANY (%s) AND relkind = 'r' AND pg_table_is_visible(oid) AND NOT ("
        "relrowsecurity AND relforcerowsecurity AND 2 = ("
        "SELECT count(*) FROM pg_policy WHERE polrelid = pg_class.oid AND polname = ANY (%s)))",
        [table.name for table in _tables_in(connection)],
        [_OF_TENANT, _OF_ALL],
    )
    return {name for (name,) in rows}


def _may_set_role(connection: BaseDatabaseWrapper) -> bool:
    major: int = connection.pg_version // 10_000  # type: ignore[attr-defined]
    right = "SET" if major >= 16 else "MEMBER"  # since version 16, members may lack this privilege
    statement = "SELECT 1 FROM pg_roles WHERE rolname = %s AND pg_has_role(oid, %s)"
    return bool(_query(connection, statement, ROLE, right))


def _leaking(connection: BaseDatabaseWrapper) -> list[str]:
    rows = _query(
        connection,
        "SELECT name FROM unnest(%s::text[]) AS name JOIN pg_proc ON oid = ('pg_catalog.' || name)::regprocedure "
        "WHERE NOT proleakproof",
        list(MATCHING),
    )
    return [name for (name,) in rows]


def _query(connection: BaseDatabaseWrapper, statement: str, *parameters: str | list[str]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters or None)
        return list(cursor.fetchall())


def _run(connection: BaseDatabaseWrapper, *statements: str) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
