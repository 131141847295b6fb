"""The user to whose data a key is limited."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("tenants", "0009_history")]
    operations = [
        migrations.AddField("apikey", "user_id", models.CharField(blank=True, max_length=255, null=True)),
    ]
