import django.db.models.deletion
import django.db.models.manager
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("conversations", "0003_summaries_due"),
        ("tenants", "0006_language_models"),
    ]

    operations = [
        migrations.AddField(
            model_name="conversation", name="labelled_by", field=models.CharField(max_length=255, null=True)
        ),
        migrations.CreateModel(
            name="Chore",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("conversation_id", models.UUIDField()),
                ("kind", models.CharField(choices=[("facts", "Facts"), ("label", "Label")], max_length=16)),
                ("due_at", models.DateTimeField(null=True)),
                ("turn", models.PositiveIntegerField(default=0)),
                ("found", models.PositiveIntegerField(default=0)),
                ("left_out", models.PositiveIntegerField(default=0)),
                ("cut", models.PositiveIntegerField(default=0)),
                ("attempts", models.PositiveSmallIntegerField(default=0)),
                ("error", models.CharField(blank=True, max_length=64)),
                ("lease", models.UUIDField(null=True)),
                ("lease_until", models.DateTimeField(null=True)),
                (
                    "tenant",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="tenants.tenant",
                    ),
                ),
            ],
            options={
                "db_table": "sfm_conversation_chores",
                "abstract": False,
                "base_manager_name": "all_tenants",
                "default_manager_name": "all_tenants",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("tenant", "conversation_id", "kind"), name="sfm_chores_conversation"
                    )
                ],
                "indexes": [
                    models.Index(
                        condition=models.Q(("due_at__isnull", False)), fields=["due_at"], name="sfm_chores_due"
                    )
                ],
            },
            managers=[("all_tenants", django.db.models.manager.Manager())],
        ),
    ]
