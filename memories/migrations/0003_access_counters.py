"""Add the number of times that a memory has been read, and the time of the last read.

Both databases use ADD COLUMN, so no row is rewritten, and the previous version can still insert rows. For a NOT NULL
column, Django would rebuild the table on SQLite, which would remove its triggers.
"""

from django.db import migrations, models

COLUMNS = {"access_count": ("bigint", "NOT NULL DEFAULT 0"), "last_accessed_at": (None, "NULL")}
TIME = {"sqlite": "datetime", "postgresql": "timestamp with time zone"}


def add(apps, schema_editor):
    for name, (kind, rest) in COLUMNS.items():
        kind = kind or TIME[schema_editor.connection.vendor]
        schema_editor.execute(f"ALTER TABLE sfm_memories ADD COLUMN {name} {kind} {rest}")


def remove(apps, schema_editor):
    for name in COLUMNS:
        schema_editor.execute(f"ALTER TABLE sfm_memories DROP COLUMN {name}")


class Migration(migrations.Migration):
    dependencies = [("memories", "0002_full_text")]
    operations = [
        migrations.SeparateDatabaseAndState(
            [migrations.RunPython(add, remove)],
            [
                migrations.AddField("memory", "access_count", models.BigIntegerField(db_default=0, default=0)),
                migrations.AddField("memory", "last_accessed_at", models.DateTimeField(null=True)),
            ],
        ),
    ]
