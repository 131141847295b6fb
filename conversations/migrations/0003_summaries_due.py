from django.db import migrations, models

from somamemory.db.migration_operations import AddIndexOnline


class Migration(migrations.Migration):
    atomic = False  # an index is built online, outside transactions

    dependencies = [("conversations", "0002_imports_and_language_models")]

    operations = [
        AddIndexOnline(
            model_name="conversation",
            index=models.Index(
                condition=models.Q(("summarise_at__isnull", False)),
                fields=["summarise_at"],
                name="sfm_conversations_summarise",
            ),
        ),
    ]
