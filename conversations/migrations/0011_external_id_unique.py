"""Make external ids unique within a tenant. The previous version stores none, so the constraint does not affect it."""

from django.db import migrations, models

from somamemory.db.migration_operations import AddUniqueOnline


class Migration(migrations.Migration):
    atomic = False  # an index is built online, outside transactions

    dependencies = [("conversations", "0010_external_id")]

    operations = [
        AddUniqueOnline(
            "conversation",
            models.UniqueConstraint(
                condition=models.Q(("external_id__isnull", False)),
                fields=("tenant", "external_id"),
                name="sfm_conversations_external_id",
            ),
        ),
    ]
