"""Add the size of each link, which counts towards quotas."""

from django.db import migrations

from somamemory.db.column_backfill import add_bytes

SIZE = {
    "sqlite": "13 + length(from_key) + length(to_key) + length(link_type) + length(CAST(metadata AS BLOB))",
    "postgresql": "13 + length(from_key) + length(to_key) + length(link_type) + octet_length(metadata::text)",
}


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("graph", "0001_initial")]
    operations = add_bytes("link", "sfm_graph_links", SIZE)
