"""Add the size of each memory in bytes, for quotas.

Both databases use ADD COLUMN, as in 0003. The sizes of existing rows are computed in small batches.
"""

from django.db import migrations, models

BATCH = 5_000
SIZE = {
    "sqlite": "length(CAST(payload AS BLOB)) + length(CAST(metadata AS BLOB)) + length(CAST(context AS BLOB))",
    "postgresql": "octet_length(payload::text) + octet_length(metadata::text) + octet_length(context)",
}


def add(apps, schema_editor):
    schema_editor.execute("ALTER TABLE sfm_memories ADD COLUMN size integer DEFAULT 0")


def remove(apps, schema_editor):
    schema_editor.execute("ALTER TABLE sfm_memories DROP COLUMN size")


def measure(apps, schema_editor):
    if schema_editor.collect_sql:
        return
    connection = schema_editor.connection
    with connection.cursor() as cursor:
        cursor.execute("SELECT COALESCE(MAX(seq), 0) FROM sfm_memories")
        last = cursor.fetchone()[0]
        for start in range(0, last, BATCH):
            cursor.execute(
                f"UPDATE sfm_memories SET size = {SIZE[connection.vendor]} WHERE seq > %s AND seq <= %s AND size = 0",
                [start, start + BATCH],
            )


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("memories", "0005_indexes")]
    operations = [
        migrations.SeparateDatabaseAndState(
            [migrations.RunPython(add, remove)],
            [migrations.AddField("memory", "size", models.PositiveIntegerField(db_default=0, default=0))],
        ),
        migrations.RunPython(measure, migrations.RunPython.noop),
    ]
