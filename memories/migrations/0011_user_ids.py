"""Add the user, agent and session of each memory.

The columns are nullable, so both databases add them without rewriting the table.
"""

from django.db import migrations

import memories.models
from memories import version_trigger


class Migration(migrations.Migration):
    dependencies = [("memories", "0010_history")]
    operations = [
        *(
            migrations.AddField(model, name, memories.models.KeyField(max_length=255, null=True))
            for model in ("memory", "memoryversion")
            for name in ("user_id", "agent_id", "session_id")
        ),
        migrations.RunPython(version_trigger.install, migrations.RunPython.noop),
    ]
