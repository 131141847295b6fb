"""The size of a conversation without its messages, for quotas. Every tenant's usage is then recounted."""

from django.db import migrations

from somamemory.db.column_backfill import add_bytes

SIZE = {
    "sqlite": "47 + length(CAST(label AS BLOB)) + length(CAST(folder AS BLOB)) + length(CAST(metadata AS BLOB))",
    "postgresql": "47 + octet_length(label) + octet_length(folder) + octet_length(metadata::text)",
}


def count_again(apps, schema_editor):
    schema_editor.execute("UPDATE sfm_usage_stripes SET counted_at = NULL WHERE counted_at IS NOT NULL")


class Migration(migrations.Migration):
    atomic = False
    dependencies = [
        ("conversations", "0006_tiers_index"),
        ("graph", "0002_bytes"),
        ("tenants", "0008_idempotency_lease"),
    ]
    operations = [
        *add_bytes("conversation", "sfm_conversations", SIZE),
        migrations.RunPython(count_again, migrations.RunPython.noop),
    ]
