"""Snapshots of deleted conversations, for restores. The previous version stores none, so its deletions are final."""

from django.db import migrations, models

import memories.models
from somamemory.db.migration_operations import AddIndexOnline


class Migration(migrations.Migration):
    atomic = False  # an index is built online, outside transactions

    dependencies = [("conversations", "0012_proposals")]

    operations = [
        # A plain ADD COLUMN on both engines: Django would rebuild the whole table on SQLite.
        migrations.SeparateDatabaseAndState(
            [
                migrations.RunSQL(
                    "ALTER TABLE sfm_deleted_conversations ADD COLUMN bytes integer DEFAULT 0 NOT NULL",
                    "ALTER TABLE sfm_deleted_conversations DROP COLUMN bytes",
                )
            ],
            [migrations.AddField("deletedconversation", "bytes", models.PositiveIntegerField(db_default=0, default=0))],
        ),
        migrations.AddField("deletedconversation", "snapshot", memories.models.JsonField(null=True)),
        AddIndexOnline(
            model_name="deletedconversation",
            index=models.Index(fields=["tenant", "deleted_at", "id"], name="sfm_deleted_conversations_of"),
        ),
    ]
