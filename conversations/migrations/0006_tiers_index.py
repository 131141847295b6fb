from django.db import migrations, models

from somamemory.db.migration_operations import AddIndexOnline


class Migration(migrations.Migration):
    atomic = False  # an index is built online, outside transactions

    dependencies = [("conversations", "0005_tiers")]

    operations = [
        AddIndexOnline(
            model_name="conversation",
            index=models.Index(fields=["tenant", "tier", "status", "archived_at"], name="sfm_conversations_tier"),
        ),
    ]
