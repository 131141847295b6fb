from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("tenants", "0007_audit_position")]
    operations = [
        migrations.AddField("idempotencykey", "lease", models.UUIDField(null=True)),
        migrations.AddField("idempotencykey", "lease_until", models.DateTimeField(null=True)),
    ]
