"""The URL to which the access token of a connected app is limited."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("tenants", "0010_key_user_id")]
    operations = [
        migrations.AddField("apikey", "resource", models.CharField(blank=True, max_length=500, null=True)),
    ]
