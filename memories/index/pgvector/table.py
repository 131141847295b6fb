"""The table that stores a collection's points, and the extension that it requires."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, DatabaseError, Error, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from somamemory.db import vector_tables
from somamemory.errors import ConfigurationError, IndexUnavailable
from somamemory.installation import COMMAND
from tenants import row_level_security

MIN_VERSION = (0, 8)  # the first version with iterative scans, without which a filtered search would lose results
# PostgreSQL truncates names to 63 characters. The names of approximate indexes are 21 characters longer than the
# table's name.
_MAX_COLLECTION = 63 - len(vector_tables.PREFIX) - 21

# Namespaces are stored as bytes, which are compared exactly and can represent any character. Vectors of up to 8 KB are
# stored in the row itself, because reading them from a TOAST table would make an exact scan several times slower.
_CREATE = """
CREATE TABLE IF NOT EXISTS {name} (
    tenant_id uuid NOT NULL,
    memory_id uuid NOT NULL,
    namespace bytea NOT NULL,
    memory_type text NOT NULL,
    version bigint NOT NULL,
    vector vector({dimension}) NOT NULL,
    PRIMARY KEY (tenant_id, memory_id)
) WITH (toast_tuple_target = 8160);
CREATE INDEX IF NOT EXISTS {scope} ON {name} (tenant_id, namespace, memory_type);
"""


@contextmanager
def translating_errors(action: str) -> Iterator[None]:
    """Raise IndexUnavailable instead of any database error."""
    try:
        yield
    except Error as error:
        raise IndexUnavailable(f"the vector index failed to {action}: {str(error).strip().splitlines()[0]}") from error


@dataclass
class Table:
    collection: str
    dimension: int
    _checked: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        if not re.fullmatch(rf"\w{{1,{_MAX_COLLECTION}}}", self.collection, re.ASCII):
            raise ConfigurationError(
                f"collection name '{self.collection}' cannot be used as a table name: it must be 1 to "
                f"{_MAX_COLLECTION} characters long and contain only letters, digits and underscores; "
                "change SOMA_MILVUS_PREFIX"
            )

    @property
    def name(self) -> str:
        return vector_tables.PREFIX + self.collection

    @translating_errors("look for its table")
    def exists(self) -> bool:
        """Return whether the table exists. Raises ConfigurationError if it does not match the embedder."""
        if not self._checked:
            connection = connections[DEFAULT_DB_ALIAS]
            if self.name not in vector_tables.names(connection):
                return False
            self._check(connection)
            self._checked = True
        return True

    @translating_errors("create its table")
    def prepare(self) -> None:
        """Create the extension and the table if they are missing.

        Raises ConfigurationError if the extension cannot be created or the table does not match the embedder.
        """
        if self.exists():
            return
        connection = connections[DEFAULT_DB_ALIAS]
        require_extension(connection)
        with transaction.atomic(DEFAULT_DB_ALIAS), connection.cursor() as cursor:
            # Only one process at a time can create the table, because "IF NOT EXISTS" does not prevent a race.
            cursor.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", [self.name])
            quote = connection.ops.quote_name
            names = {"name": quote(self.name), "scope": quote(f"{self.name}_scope")}
            for statement in _CREATE.format(**names, dimension=self.dimension).split(";")[:-1]:
                cursor.execute(statement)
            if settings.ROW_LEVEL_SECURITY:
                row_level_security.install()

    def forget(self) -> None:
        self._checked = False

    def _check(self, connection: BaseDatabaseWrapper) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT atttypmod FROM pg_attribute WHERE attrelid = %s::regclass AND attname = 'vector'", [self.name]
            )
            row = cursor.fetchone()
        if row is None:
            raise ConfigurationError(f"table {self.name} was not created by SomaMemory; rename or remove it")
        if row[0] != self.dimension:
            raise ConfigurationError(
                f"table {self.name} contains {row[0]}-dimensional vectors, but the embedder creates "
                f"{self.dimension}. Restore the previous embedder settings, or run {COMMAND} reembed"
            )


def require_extension(connection: BaseDatabaseWrapper) -> None:
    """Create the extension if it is missing.

    If that fails, or if the extension is too old, raises ConfigurationError with the statement that a superuser must
    run.
    """
    if connection.vendor != "postgresql":
        raise ConfigurationError("the pgvector index requires PostgreSQL: set SOMA_DATABASE_URL")
    if _version(connection) is None:
        try:
            with transaction.atomic(connection.alias), connection.cursor() as cursor:
                cursor.execute("CREATE EXTENSION IF NOT EXISTS vector")
        except DatabaseError as error:
            raise ConfigurationError(_remedy(connection, error)) from error
    version = _version(connection)
    if version is None or version < MIN_VERSION:
        raise ConfigurationError(
            f"pgvector {'.'.join(map(str, version or ()))} is too old: install pgvector 0.8 or newer on the database "
            "server, and then run as a superuser: ALTER EXTENSION vector UPDATE"
        )


def _remedy(connection: BaseDatabaseWrapper, error: DatabaseError) -> str:
    database = connection.settings_dict["NAME"]
    return (
        f"the database {database} lacks the vector extension, and the service could not create it "
        f"({str(error).splitlines()[0]}). Install pgvector 0.8 or newer on the database server "
        "(Debian: postgresql-17-pgvector), and then run in this database as a superuser: CREATE EXTENSION vector"
    )


def _version(connection: BaseDatabaseWrapper) -> tuple[int, ...] | None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT extversion FROM pg_extension WHERE extname = %s", [vector_tables.EXTENSION])
        row = cursor.fetchone()
    return None if row is None else tuple(int(number) for number in re.findall(r"\d+", row[0])[:2])
