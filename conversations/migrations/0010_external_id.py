"""The caller's own id for a conversation. Existing conversations have none."""

from django.db import migrations

import memories.models


class Migration(migrations.Migration):
    dependencies = [("conversations", "0009_user_ids_index")]
    operations = [
        migrations.AddField("conversation", "external_id", memories.models.KeyField(max_length=255, null=True)),
    ]
