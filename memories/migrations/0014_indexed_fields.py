"""Add the fields of each memory's payload and metadata to SQLite's full-text index, for filters on these fields.

On PostgreSQL, 0005_indexes has created indexes for this purpose. `memories.filters.fields` describes the terms.
"""

from importlib import import_module

from django.db import migrations

scoped = import_module("memories.migrations.0013_scoped_full_text")

# The terms for the fields of a document. A field has a term if its key is simple, its value is not a list or an object,
# and its text is short. A number is rounded towards zero, so that equal numbers have the same term however they are
# written.
FIELDS = """
    CASE WHEN length({row}.{column}) > 65536 THEN ' ' || {scope} || '§§{column}' ELSE coalesce((
        SELECT group_concat(' ' || {scope} || '§§' || hex(substr('{column}', 1, 1) || '.' || key || CASE type
            WHEN 'text' THEN ':' || value
            WHEN 'integer' THEN '#' || value
            WHEN 'real' THEN '#' || CAST(value AS integer)
            ELSE '=' || type
        END), '')
        FROM json_each({row}.{column})
        WHERE type NOT IN ('array', 'object') AND key NOT GLOB '*[^A-Za-z0-9_-]*' AND length(key) <= 64
        AND (type <> 'text' OR length(value) <= 64)
    ), '') END
"""
TERMS = " || ".join(
    [
        f"({scoped.SCOPED})",
        *(FIELDS.replace("{column}", column) for column in ("payload", "metadata")),
    ]
)
SCOPE = "sfm_memory_terms_scopes.id"  # qualified, because json_each also has a column named id
ENTER = scoped.ENTER.replace(scoped.SCOPED.format(row="new", scope="id"), TERMS.format(row="new", scope=SCOPE))
LEAVE = scoped.LEAVE.replace(scoped.SCOPED.format(row="old", scope="id"), TERMS.format(row="old", scope=SCOPE))
CHANGED = " OR ".join(f"old.{name} <> new.{name}" for name in ("terms", "payload", "metadata", "namespace", "tenant_id"))
EVENTS = ("insert", "delete", "update")
DROP = [f"DROP TRIGGER sfm_memory_terms_scoped_{event}" for event in EVENTS]
CREATE = [
    f"CREATE TRIGGER sfm_memory_terms_scoped_insert AFTER INSERT ON sfm_memories BEGIN {ENTER} END",
    f"CREATE TRIGGER sfm_memory_terms_scoped_delete AFTER DELETE ON sfm_memories BEGIN {LEAVE} END",
    f"CREATE TRIGGER sfm_memory_terms_scoped_update AFTER UPDATE ON sfm_memories WHEN {CHANGED} BEGIN {LEAVE} {ENTER} END",
]
CLEAR = "INSERT INTO sfm_memory_terms_scoped(sfm_memory_terms_scoped) VALUES ('delete-all')"
FILL = """
    INSERT INTO sfm_memory_terms_scoped(rowid, terms)
    SELECT seq, {terms} FROM sfm_memories JOIN sfm_memory_terms_scopes USING (tenant_id, namespace) ORDER BY seq
"""
OF_ROW = {"row": "sfm_memories", "scope": SCOPE}


def add_fields(apps, schema_editor):
    if schema_editor.connection.vendor == "sqlite":
        for statement in [*DROP, *CREATE, CLEAR, FILL.format(terms=TERMS.format(**OF_ROW))]:
            schema_editor.execute(statement)


def remove_fields(apps, schema_editor):
    if schema_editor.connection.vendor == "sqlite":
        triggers = [statement for statement in scoped.SQLITE if "CREATE TRIGGER" in statement]
        for statement in [*DROP, *triggers, CLEAR, FILL.format(terms=scoped.SCOPED.format(**OF_ROW))]:
            schema_editor.execute(statement)


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("memories", "0013_scoped_full_text")]
    operations = [migrations.RunPython(add_fields, remove_fields, atomic=True)]
