"""Make keys unique within a namespace. The previous version stores no keys, so the constraint does not affect it."""

from django.db import migrations, models

from somamemory.db.migration_operations import AddUniqueOnline


class Migration(migrations.Migration):
    atomic = False  # an index is built concurrently, which is not possible in a transaction

    dependencies = [("memories", "0008_key")]

    operations = [
        AddUniqueOnline(
            "memory",
            models.UniqueConstraint(
                condition=models.Q(("key__isnull", False)),
                fields=("tenant", "namespace", "key"),
                name="sfm_memories_key",
            ),
        ),
    ]
