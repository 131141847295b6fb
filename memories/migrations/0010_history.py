"""Add earlier versions of memories, and the validity and source of each memory.

The new columns are nullable, so both databases add them without rewriting the table, and the previous release can still
insert rows. Changes made by the previous release are recorded as soon as the trigger exists.
"""

import django.db.models.deletion
import django.db.models.manager
import django.utils.timezone
from django.db import migrations, models

import memories.models
from memories import version_trigger

COLUMNS = {
    "valid_from": models.DateTimeField(null=True),
    "valid_to": models.DateTimeField(null=True),
    "source": memories.models.JsonField(null=True),
    "trust": models.FloatField(null=True),
    "written_by": models.CharField(max_length=64, null=True),
}


def begin_history(apps, schema_editor):
    """Let each existing tenant's history begin now, because its earlier changes were not recorded."""
    apps.get_model("tenants", "Tenant").objects.filter(history_since=None).update(
        history_since=django.utils.timezone.now()
    )


class Migration(migrations.Migration):
    dependencies = [("memories", "0009_key_unique"), ("tenants", "0009_history")]

    operations = [
        *[migrations.AddField("memory", name, field) for name, field in COLUMNS.items()],
        migrations.CreateModel(
            name="MemoryVersion",
            fields=[
                ("seq", models.BigAutoField(primary_key=True, serialize=False)),
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
                ("id", models.UUIDField(editable=False)),
                ("namespace", memories.models.KeyField(max_length=255)),
                ("coordinate_key", memories.models.KeyField(max_length=512)),
                ("key", memories.models.KeyField(max_length=512, null=True)),
                (
                    "memory_type",
                    models.CharField(
                        choices=[("episodic", "Episodic"), ("semantic", "Semantic")], default="episodic", max_length=16
                    ),
                ),
                ("importance", models.FloatField(default=0.0)),
                ("version", models.PositiveIntegerField(default=1)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("updated_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("until", models.DateTimeField()),
                ("expires_at", models.DateTimeField(null=True)),
                ("deleted_at", models.DateTimeField(null=True)),
                ("archived_at", models.DateTimeField(null=True)),
                ("valid_from", models.DateTimeField(null=True)),
                ("valid_to", models.DateTimeField(null=True)),
                ("access_count", models.BigIntegerField(db_default=0, default=0)),
                ("last_accessed_at", models.DateTimeField(null=True)),
                ("size", models.PositiveIntegerField(db_default=0, default=0)),
                ("trust", models.FloatField(null=True)),
                ("written_by", models.CharField(max_length=64, null=True)),
                # The large columns come last, because SQLite reads through all columns before the one that it needs.
                ("source", memories.models.JsonField(null=True)),
                ("terms", models.TextField(blank=True)),
                ("context", models.TextField(blank=True)),
                ("metadata", memories.models.JsonField(default=dict)),
                ("payload", memories.models.JsonField()),
            ],
            options={
                "db_table": "sfm_memory_versions",
                "abstract": False,
                "base_manager_name": "all_tenants",
                "default_manager_name": "all_tenants",
                "constraints": [
                    models.UniqueConstraint(fields=("tenant", "id", "version"), name="sfm_version_of_memory")
                ],
                "indexes": [
                    models.Index(fields=["tenant", "namespace", "coordinate_key", "until"], name="sfm_versions_address"),
                    models.Index(fields=["tenant", "until"], name="sfm_versions_age"),
                ],
            },
            managers=[("all_tenants", django.db.models.manager.Manager())],
        ),
        migrations.RunPython(version_trigger.install, version_trigger.remove),
        migrations.RunPython(begin_history, migrations.RunPython.noop),
    ]
