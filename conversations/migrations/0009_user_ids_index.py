from django.db import migrations, models

from somamemory.db.migration_operations import AddIndexOnline


class Migration(migrations.Migration):
    atomic = False  # an index is built online, outside transactions

    dependencies = [("conversations", "0008_user_ids")]

    operations = [
        AddIndexOnline(
            model_name="conversation",
            index=models.Index(
                fields=["tenant", f"{owner}_id", "updated_at", "number"],
                name=f"sfm_conversations_{owner}",
                condition=models.Q((f"{owner}_id__isnull", False)),
            ),
        )
        for owner in ("user", "agent", "session")
    ]
