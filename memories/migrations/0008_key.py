"""Add a key to each memory: a name chosen by the caller. Existing memories have none."""

from django.db import migrations

import memories.models


class Migration(migrations.Migration):
    dependencies = [("memories", "0007_archived")]
    operations = [migrations.AddField("memory", "key", memories.models.KeyField(max_length=512, null=True))]
