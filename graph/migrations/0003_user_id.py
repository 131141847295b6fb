"""Add the user of each link, as memories.0011_user_ids does for memories."""

from django.db import migrations

import memories.models


class Migration(migrations.Migration):
    dependencies = [("graph", "0002_bytes")]
    operations = [
        migrations.AddField("link", "user_id", memories.models.KeyField(max_length=255, null=True)),
    ]
