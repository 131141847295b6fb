from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("tenants", "0008_idempotency_lease")]

    operations = [
        migrations.AddField("tenant", "history_days", models.PositiveIntegerField(blank=True, null=True)),
        migrations.AddField("tenant", "history_since", models.DateTimeField(blank=True, editable=False, null=True)),
    ]
