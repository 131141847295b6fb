"""A database server without pgvector."""

from __future__ import annotations

from uuid import UUID

import numpy as np
import pytest
from django.conf import settings
from django.db import connection

from memories.index.base import Where
from memories.index.pgvector import table
from memories.index.pgvector.index import PgvectorIndex
from somamemory.db import vector_tables
from somamemory.errors import ConfigurationError

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif(settings.VECTOR_INDEX == "pgvector", reason="this server has the extension"),
]


@pytest.mark.postgresql
def test_a_missing_extension_is_refused_with_what_to_run() -> None:
    with pytest.raises(ConfigurationError, match=r"lacks the vector extension.*CREATE EXTENSION vector"):
        PgvectorIndex("test_missing", 8).ping()
    assert vector_tables.names(connection) == []


def test_another_database_than_postgresql_is_refused() -> None:
    if connection.vendor == "postgresql":
        return
    with pytest.raises(ConfigurationError, match="SOMA_DATABASE_URL"):
        table.require_extension(connection)


def test_an_index_without_a_table_is_empty() -> None:
    index = PgvectorIndex("test_missing", 8)
    assert index.search(UUID(int=1), np.ones(8, dtype=np.float32), Where(("default",)), 5) == []
    assert list(index.scan(UUID(int=1))) == []
    index.delete(UUID(int=1), [UUID(int=2)])
