"""The time of an API key's last use. The previous version does not write it."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("tenants", "0011_key_resource")]
    operations = [
        migrations.AddField("apikey", "last_used_at", models.DateTimeField(blank=True, null=True)),
    ]
