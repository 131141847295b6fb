"""The trigger that keeps earlier versions of memories. It runs as part of the statement that changes a memory.

If a statement sets a higher `version` and a later `updated_at`, the trigger copies the old row to
`sfm_memory_versions`. Archiving a memory does not change `updated_at`, so it does not create an earlier version. A
trigger costs less than a separate statement, and no writer can forget to run it.
"""

from __future__ import annotations

from typing import Any

from django.db.backends.base.schema import BaseDatabaseSchemaEditor

_WHEN = "old.version <> new.version AND old.updated_at <> new.updated_at"
_SQLITE = """
    CREATE TRIGGER sfm_memories_version AFTER UPDATE OF version ON sfm_memories WHEN {when} BEGIN
        INSERT INTO sfm_memory_versions ({columns}, until) VALUES ({values}, new.updated_at);
    END
"""
_FUNCTION = """
    CREATE OR REPLACE FUNCTION sfm_keep_version() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO sfm_memory_versions ({columns}, until) VALUES ({values}, new.updated_at);
        RETURN NULL;
    END $$
"""
_POSTGRESQL = """
    CREATE TRIGGER sfm_memories_version AFTER UPDATE OF version ON sfm_memories FOR EACH ROW WHEN ({when})
    EXECUTE FUNCTION sfm_keep_version()
"""


def install(apps: Any, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Create or replace the trigger, for the columns that both tables have at this point. For use in migrations."""
    names = _shared_columns(schema_editor)
    columns = ", ".join(f'"{name}"' for name in names)
    values = ", ".join(f'old."{name}"' for name in names)
    if schema_editor.connection.vendor == "sqlite":
        schema_editor.execute("DROP TRIGGER IF EXISTS sfm_memories_version")
        schema_editor.execute(_SQLITE.format(when=_WHEN, columns=columns, values=values))
        return
    schema_editor.execute(_FUNCTION.format(columns=columns, values=values))
    schema_editor.execute("DROP TRIGGER IF EXISTS sfm_memories_version ON sfm_memories")
    schema_editor.execute(_POSTGRESQL.format(when=_WHEN))


def remove(apps: Any, schema_editor: BaseDatabaseSchemaEditor) -> None:
    if schema_editor.connection.vendor == "sqlite":
        schema_editor.execute("DROP TRIGGER IF EXISTS sfm_memories_version")
    else:
        schema_editor.execute("DROP TRIGGER IF EXISTS sfm_memories_version ON sfm_memories")
        schema_editor.execute("DROP FUNCTION IF EXISTS sfm_keep_version()")


def _shared_columns(editor: BaseDatabaseSchemaEditor) -> list[str]:
    connection = editor.connection
    with connection.cursor() as cursor:
        old, kept = (
            {column.name for column in connection.introspection.get_table_description(cursor, table)}
            for table in ("sfm_memories", "sfm_memory_versions")
        )
    return sorted(old & kept - {"seq"})
