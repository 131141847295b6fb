"""The size of a conversation without its messages, for quotas.

Plain ADD COLUMN on both engines: Django would copy the table on SQLite. Existing conversations get their size in small
batches. Afterwards, the usage of every tenant with a quota is counted again.
"""

from django.db import migrations, models

from somamemory.db.column_backfill import fill

SIZE = {
    "sqlite": "47 + length(CAST(label AS BLOB)) + length(CAST(folder AS BLOB)) + length(CAST(metadata AS BLOB))",
    "postgresql": "47 + octet_length(label) + octet_length(folder) + octet_length(metadata::text)",
}


def add(apps, schema_editor):
    schema_editor.execute("ALTER TABLE sfm_conversations ADD COLUMN bytes integer DEFAULT 0")


def remove(apps, schema_editor):
    schema_editor.execute("ALTER TABLE sfm_conversations DROP COLUMN bytes")


def measure(apps, schema_editor):
    if schema_editor.collect_sql:
        return
    connection = schema_editor.connection
    fill(connection, "sfm_conversations", "bytes", SIZE[connection.vendor])
    with connection.cursor() as cursor:
        cursor.execute("UPDATE sfm_usage_stripes SET counted_at = NULL WHERE counted_at IS NOT NULL")


class Migration(migrations.Migration):
    atomic = False
    dependencies = [
        ("conversations", "0006_tiers_index"),
        ("graph", "0002_bytes"),
        ("tenants", "0008_idempotency_lease"),
    ]
    operations = [
        migrations.SeparateDatabaseAndState(
            [migrations.RunPython(add, remove)],
            [migrations.AddField("conversation", "bytes", models.PositiveIntegerField(db_default=0, default=0))],
        ),
        migrations.RunPython(measure, migrations.RunPython.noop),
    ]
