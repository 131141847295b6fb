"""Create the full-text index, which the database itself updates in the transaction of each change.

Both databases index the same words (`Memory.terms`, which `memories.search.analyzer` computes) and one word for the scope
(tenant and namespace), so that a query reads only entries of its own scope, whatever other tenants have stored. The word
for the scope begins with a character that no word in a text can contain.
"""

from django.db import migrations

# `content=''`: the index does not store the words, because they are already in sfm_memories.terms. `detail=none`: queries
# check only whether a word occurs.
SQLITE = [
    """
    CREATE VIRTUAL TABLE sfm_memory_terms
    USING fts5(terms, content='', columnsize=0, detail='none', tokenize='ascii')
    """,
    """
    CREATE TRIGGER sfm_memory_terms_insert AFTER INSERT ON sfm_memories BEGIN
        INSERT INTO sfm_memory_terms(rowid, terms)
        VALUES (new.seq, new.terms || ' §scope' || new.tenant_id || 'x' || hex(new.namespace));
    END
    """,
    """
    CREATE TRIGGER sfm_memory_terms_delete AFTER DELETE ON sfm_memories BEGIN
        INSERT INTO sfm_memory_terms(sfm_memory_terms, rowid, terms)
        VALUES ('delete', old.seq, old.terms || ' §scope' || old.tenant_id || 'x' || hex(old.namespace));
    END
    """,
    """
    CREATE TRIGGER sfm_memory_terms_update AFTER UPDATE ON sfm_memories
    WHEN old.terms <> new.terms OR old.namespace <> new.namespace OR old.tenant_id <> new.tenant_id BEGIN
        INSERT INTO sfm_memory_terms(sfm_memory_terms, rowid, terms)
        VALUES ('delete', old.seq, old.terms || ' §scope' || old.tenant_id || 'x' || hex(old.namespace));
        INSERT INTO sfm_memory_terms(rowid, terms)
        VALUES (new.seq, new.terms || ' §scope' || new.tenant_id || 'x' || hex(new.namespace));
    END
    """,
]
SQLITE_REVERSE = [
    "DROP TRIGGER sfm_memory_terms_update",
    "DROP TRIGGER sfm_memory_terms_delete",
    "DROP TRIGGER sfm_memory_terms_insert",
    "DROP TABLE sfm_memory_terms",
]
POSTGRESQL = [
    """
    ALTER TABLE sfm_memories ADD COLUMN terms_vector tsvector GENERATED ALWAYS AS (
        array_to_tsvector(
            string_to_array(terms, ' ')
            || ('§scope' || replace(tenant_id::text, '-', '') || 'x' || namespace)
        )
    ) STORED
    """,
    "CREATE INDEX sfm_memories_terms ON sfm_memories USING gin (terms_vector)",
]
POSTGRESQL_REVERSE = ["ALTER TABLE sfm_memories DROP COLUMN terms_vector"]


def run(sqlite, postgresql):
    def apply(apps, schema_editor):
        for statement in sqlite if schema_editor.connection.vendor == "sqlite" else postgresql:
            schema_editor.execute(statement)

    return apply


class Migration(migrations.Migration):
    dependencies = [("memories", "0001_initial")]
    operations = [
        migrations.RunPython(run(SQLITE, POSTGRESQL), run(SQLITE_REVERSE, POSTGRESQL_REVERSE)),
    ]
