from django.db import migrations, models

from somamemory.db.migration_operations import AddIndexOnline

INDEXES = {
    "user": ["tenant", "user_id", "namespace", "coordinate_key"],
    "agent": ["tenant", "agent_id", "namespace"],
    "session": ["tenant", "session_id", "namespace"],
}


class Migration(migrations.Migration):
    atomic = False  # an index is built concurrently, which is not possible in a transaction

    dependencies = [("memories", "0011_user_ids")]

    operations = [
        AddIndexOnline(
            model_name="memory",
            index=models.Index(
                fields=fields,
                name=f"sfm_memories_{owner}",
                condition=models.Q((f"{owner}_id__isnull", False)),
            ),
        )
        for owner, fields in INDEXES.items()
    ]
