"""Let each term in the full-text index begin with its scope, which identifies a tenant and a namespace.

SQLite: a query reads only the entries of its own namespaces. Previously, it intersected the entries of each term with
the list of all memories in the namespace, which took most of a search's time with 100,000 memories. The frequency of a
term is now the number of its entries. Each scope has a number, which is never reused, and keeps its counts of memories
and words.

PostgreSQL: new entries go straight into the index instead of a pending list, which every search would have to read until
it is merged. An index on a sample, a sixteenth of each namespace by random id, is used to estimate how frequent terms are.
"""

from importlib import import_module

from django.db import migrations

from somamemory.db.migration_operations import RunOnPostgreSQL

WORDS = "CASE {row}.terms WHEN '' THEN 0 ELSE length({row}.terms) - length(replace({row}.terms, ' ', '')) + 1 END"
OF_SCOPE = "tenant_id = {row}.tenant_id AND namespace = {row}.namespace"
SCOPED = "CASE {row}.terms WHEN '' THEN '' ELSE {scope} || '§' || replace({row}.terms, ' ', ' ' || {scope} || '§') END"
ENTER = f"""
    INSERT INTO sfm_memory_terms_scopes (tenant_id, namespace, documents, words)
    VALUES (new.tenant_id, new.namespace, 1, {WORDS.format(row="new")})
    ON CONFLICT (tenant_id, namespace) DO UPDATE SET documents = documents + 1, words = words + excluded.words;
    INSERT INTO sfm_memory_terms_scoped(rowid, terms)
    SELECT new.seq, {SCOPED.format(row="new", scope="id")} FROM sfm_memory_terms_scopes WHERE {OF_SCOPE.format(row="new")};
"""
LEAVE = f"""
    INSERT INTO sfm_memory_terms_scoped(sfm_memory_terms_scoped, rowid, terms)
    SELECT 'delete', old.seq, {SCOPED.format(row="old", scope="id")} FROM sfm_memory_terms_scopes WHERE {OF_SCOPE.format(row="old")};
    UPDATE sfm_memory_terms_scopes SET documents = documents - 1, words = words - ({WORDS.format(row="old")})
    WHERE {OF_SCOPE.format(row="old")};
    DELETE FROM sfm_memory_terms_scopes WHERE {OF_SCOPE.format(row="old")} AND documents = 0;
"""
SQLITE = [
    """
    CREATE TABLE sfm_memory_terms_scopes (
        id integer PRIMARY KEY AUTOINCREMENT,
        tenant_id char(32) NOT NULL,
        namespace varchar(255) NOT NULL,
        documents integer NOT NULL,
        words integer NOT NULL,
        UNIQUE (tenant_id, namespace)
    )
    """,
    """
    CREATE VIRTUAL TABLE sfm_memory_terms_scoped
    USING fts5(terms, content='', columnsize=0, detail='none', tokenize='ascii')
    """,
    "CREATE VIRTUAL TABLE sfm_memory_terms_frequencies USING fts5vocab('sfm_memory_terms_scoped', 'row')",
    f"""
    INSERT INTO sfm_memory_terms_scopes (tenant_id, namespace, documents, words)
    SELECT tenant_id, namespace, count(*), sum({WORDS.format(row="sfm_memories")})
    FROM sfm_memories GROUP BY tenant_id, namespace
    """,
    f"""
    INSERT INTO sfm_memory_terms_scoped(rowid, terms)
    SELECT seq, {SCOPED.format(row="sfm_memories", scope="sfm_memory_terms_scopes.id")}
    FROM sfm_memories JOIN sfm_memory_terms_scopes USING (tenant_id, namespace) ORDER BY seq
    """,
    f"CREATE TRIGGER sfm_memory_terms_scoped_insert AFTER INSERT ON sfm_memories BEGIN {ENTER} END",
    f"CREATE TRIGGER sfm_memory_terms_scoped_delete AFTER DELETE ON sfm_memories BEGIN {LEAVE} END",
    f"""
    CREATE TRIGGER sfm_memory_terms_scoped_update AFTER UPDATE ON sfm_memories
    WHEN old.terms <> new.terms OR old.namespace <> new.namespace OR old.tenant_id <> new.tenant_id
    BEGIN {LEAVE} {ENTER} END
    """,
]
SQLITE_REVERSE = [
    "DROP TRIGGER sfm_memory_terms_scoped_update",
    "DROP TRIGGER sfm_memory_terms_scoped_delete",
    "DROP TRIGGER sfm_memory_terms_scoped_insert",
    "DROP TABLE sfm_memory_terms_frequencies",
    "DROP TABLE sfm_memory_terms_scoped",
    "DROP TABLE sfm_memory_terms_scopes",
]
# The table and triggers of the previous version's index. The previous version uses the table until the restart.
PREVIOUS = import_module("memories.migrations.0002_full_text").SQLITE
DROP_PREVIOUS = [f"DROP TRIGGER IF EXISTS sfm_memory_terms_{event}" for event in ("insert", "update", "delete")]
REFILL_PREVIOUS = [
    "INSERT INTO sfm_memory_terms(sfm_memory_terms) VALUES ('delete-all')",
    """
    INSERT INTO sfm_memory_terms(rowid, terms)
    SELECT seq, terms || ' §scope' || tenant_id || 'x' || hex(namespace) FROM sfm_memories
    """,
]
SAMPLE = """
    CREATE INDEX CONCURRENTLY IF NOT EXISTS sfm_memories_sample ON sfm_memories (tenant_id, namespace, id)
    WHERE id < '10000000-0000-0000-0000-000000000000'
"""


def scope(apps, schema_editor):
    """Build the new index. If there are no memories, also drop the previous index, in which nothing could be found."""
    if schema_editor.connection.vendor != "sqlite":
        return
    with schema_editor.connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM sfm_memories LIMIT 1")
        is_empty = cursor.fetchone() is None
    for statement in [*SQLITE, *(DROP_PREVIOUS if is_empty else [])]:
        schema_editor.execute(statement)


def unscope(apps, schema_editor):
    """Return to the previous index, after restoring any triggers and entries that it lacks."""
    if schema_editor.connection.vendor != "sqlite":
        return
    for statement in [*SQLITE_REVERSE, *DROP_PREVIOUS, *REFILL_PREVIOUS, *PREVIOUS[1:]]:
        schema_editor.execute(statement)


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("memories", "0012_user_ids_index")]
    operations = [
        migrations.RunPython(scope, unscope, atomic=True),
        RunOnPostgreSQL(
            "ALTER INDEX sfm_memories_terms SET (fastupdate = off)",
            "ALTER INDEX sfm_memories_terms RESET (fastupdate)",
        ),
        RunOnPostgreSQL("SELECT gin_clean_pending_list('sfm_memories_terms')", migrations.RunSQL.noop),
        RunOnPostgreSQL(SAMPLE, "DROP INDEX CONCURRENTLY IF EXISTS sfm_memories_sample"),
    ]
