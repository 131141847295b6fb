"""The size of a link, for quotas.

Plain ADD COLUMN on both engines: Django would copy the table on SQLite. Existing links get their size in small batches.
"""

from django.db import migrations, models

from somamemory.db.column_backfill import fill

SIZE = {
    "sqlite": "13 + length(from_key) + length(to_key) + length(link_type) + length(CAST(metadata AS BLOB))",
    "postgresql": "13 + length(from_key) + length(to_key) + length(link_type) + octet_length(metadata::text)",
}


def add(apps, schema_editor):
    schema_editor.execute("ALTER TABLE sfm_graph_links ADD COLUMN bytes integer DEFAULT 0")


def remove(apps, schema_editor):
    schema_editor.execute("ALTER TABLE sfm_graph_links DROP COLUMN bytes")


def measure(apps, schema_editor):
    if not schema_editor.collect_sql:
        connection = schema_editor.connection
        fill(connection, "sfm_graph_links", "bytes", SIZE[connection.vendor])


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("graph", "0001_initial")]
    operations = [
        migrations.SeparateDatabaseAndState(
            [migrations.RunPython(add, remove)],
            [migrations.AddField("link", "bytes", models.PositiveIntegerField(db_default=0, default=0))],
        ),
        migrations.RunPython(measure, migrations.RunPython.noop),
    ]
