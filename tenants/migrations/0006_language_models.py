from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("tenants", "0005_audit_index")]

    operations = [
        migrations.AddField(
            model_name="tenant",
            name="quota_llm_tokens_per_month",
            field=models.PositiveBigIntegerField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="tenant",
            name="quota_llm_cents_per_month",
            field=models.PositiveBigIntegerField(blank=True, null=True),
        ),
        migrations.AddField(model_name="tenant", name="auto_label", field=models.FloatField(blank=True, null=True)),
        # A plain ADD COLUMN on both engines: Django would rebuild the whole table on SQLite.
        migrations.SeparateDatabaseAndState(
            database_operations=[
                migrations.RunSQL(
                    "ALTER TABLE sfm_tenants ADD COLUMN extract_facts bool DEFAULT false",
                    "ALTER TABLE sfm_tenants DROP COLUMN extract_facts",
                )
            ],
            state_operations=[
                migrations.AddField(
                    model_name="tenant",
                    name="extract_facts",
                    field=models.BooleanField(db_default=False, default=False),
                )
            ],
        ),
    ]
