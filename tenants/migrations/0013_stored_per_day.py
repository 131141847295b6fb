"""The number of memories that a tenant had on a day. The previous version does not write it."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("tenants", "0012_key_last_used")]
    operations = [
        migrations.AddField("dailyusage", "memories", models.BigIntegerField(null=True)),
    ]
