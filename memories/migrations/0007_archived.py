from django.db import migrations, models

from somamemory.db.migration_operations import AddIndexOnline


class Migration(migrations.Migration):
    atomic = False  # an index is built concurrently, which is not possible in a transaction

    dependencies = [("memories", "0006_size")]

    operations = [
        migrations.AddField("memory", "archived_at", models.DateTimeField(null=True)),
        AddIndexOnline(
            model_name="memory",
            index=models.Index(
                condition=models.Q(("archived_at__isnull", False)),
                fields=["tenant", "namespace", "archived_at"],
                name="sfm_memories_archived",
            ),
        ),
    ]
