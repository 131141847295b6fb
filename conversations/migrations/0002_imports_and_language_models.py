import uuid

import django.db.models.deletion
import django.db.models.manager
import django.utils.timezone
from django.db import migrations, models

OWNED = {
    "abstract": False,
    "base_manager_name": "all_tenants",
    "default_manager_name": "all_tenants",
}


def tenant():
    return models.ForeignKey(
        db_constraint=False,
        db_index=False,
        on_delete=django.db.models.deletion.DO_NOTHING,
        related_name="+",
        to="tenants.tenant",
    )


class Migration(migrations.Migration):
    dependencies = [
        ("conversations", "0001_initial"),
        ("tenants", "0003_idempotency_key"),
    ]

    operations = [
        migrations.CreateModel(
            name="ImportedConversation",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("source", models.CharField(max_length=16)),
                ("source_id", models.CharField(max_length=255)),
                ("conversation_id", models.UUIDField()),
                ("imported_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("tenant", tenant()),
            ],
            options={
                "db_table": "sfm_imported_conversations",
                **OWNED,
                "constraints": [
                    models.UniqueConstraint(fields=("tenant", "source", "source_id"), name="sfm_import_source_id")
                ],
            },
            managers=[("all_tenants", django.db.models.manager.Manager())],
        ),
        migrations.CreateModel(
            name="LlmCall",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("month", models.PositiveIntegerField()),
                ("at", models.DateTimeField(default=django.utils.timezone.now)),
                ("purpose", models.CharField(max_length=32)),
                ("model", models.CharField(max_length=255)),
                ("prompt_tokens", models.PositiveBigIntegerField()),
                ("completion_tokens", models.PositiveBigIntegerField()),
                ("micro_usd", models.PositiveBigIntegerField()),
                ("tenant", tenant()),
            ],
            options={
                "db_table": "sfm_llm_calls",
                **OWNED,
                "constraints": [models.UniqueConstraint(fields=("tenant", "month", "id"), name="sfm_llm_calls_month")],
            },
            managers=[("all_tenants", django.db.models.manager.Manager())],
        ),
        migrations.AddField(
            model_name="conversation", name="summarise_at", field=models.DateTimeField(null=True)
        ),
    ]
