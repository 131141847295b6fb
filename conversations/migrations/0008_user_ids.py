"""The user, agent and session of a conversation, as in memories.0011_user_ids."""

from django.db import migrations

import memories.models


class Migration(migrations.Migration):
    dependencies = [("conversations", "0007_bytes")]
    operations = [
        *(
            migrations.AddField("conversation", name, memories.models.KeyField(max_length=255, null=True))
            for name in ("user_id", "agent_id", "session_id")
        ),
        migrations.AddField("deletedconversation", "user_id", memories.models.KeyField(max_length=255, null=True)),
    ]
