"""The audit log's chain, quotas and usage, and the record of an erased tenant."""

import django.db.models.deletion
import django.db.models.manager
import django.utils.timezone
from django.db import migrations, models


# A row of the log or of its chain is never changed. It may be deleted once a checkpoint covers it, or once its whole
# tenant has been erased. A checkpoint may be deleted only with its tenant.
COVERED = {
    "sfm_audit_log": "EXISTS (SELECT 1 FROM sfm_audit_checkpoints c WHERE c.tenant_id = OLD.tenant_id AND c.last_id >= OLD.id)",
    "sfm_audit_blocks": "EXISTS (SELECT 1 FROM sfm_audit_checkpoints c WHERE c.tenant_id = OLD.tenant_id AND c.number >= OLD.number)",
    "sfm_audit_checkpoints": "(1 = 0)",
}
ERASED = "EXISTS (SELECT 1 FROM sfm_erased_tenants e WHERE e.tenant_id = OLD.tenant_id)"
REFUSAL = "the audit log is append-only"


def guard(apps, schema_editor):
    for table, covered in COVERED.items():
        statements = postgresql(table, covered) if schema_editor.connection.vendor == "postgresql" else sqlite(table, covered)
        for statement in statements:
            schema_editor.execute(statement)


def sqlite(table, covered):
    yield f"CREATE TRIGGER {table}_no_update BEFORE UPDATE ON {table} BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END"
    yield (
        f"CREATE TRIGGER {table}_no_delete BEFORE DELETE ON {table} WHEN NOT ({covered} OR {ERASED}) "
        f"BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END"
    )


def postgresql(table, covered):
    refuse = f"RAISE EXCEPTION '{REFUSAL}' USING ERRCODE = 'restrict_violation';"
    yield f"CREATE FUNCTION {table}_refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {refuse} END $$"
    yield (
        f"CREATE FUNCTION {table}_covered() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"IF NOT ({covered} OR {ERASED}) THEN {refuse} END IF; RETURN OLD; END $$"
    )
    yield f"CREATE TRIGGER {table}_no_update BEFORE UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION {table}_refuse()"
    yield f"CREATE TRIGGER {table}_no_delete BEFORE DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION {table}_covered()"
    yield f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} EXECUTE FUNCTION {table}_refuse()"


def unguard(apps, schema_editor):
    for table in COVERED:
        if schema_editor.connection.vendor == "postgresql":
            for function in ("refuse", "covered"):
                schema_editor.execute(f"DROP FUNCTION {table}_{function} CASCADE")
        else:
            for trigger in ("update", "delete"):
                schema_editor.execute(f"DROP TRIGGER {table}_no_{trigger}")


COLUMNS = {"sfm_audit_log": "address varchar(45) NOT NULL DEFAULT ''", "sfm_tenants": "tier varchar(16) NOT NULL DEFAULT 'standard'"}


def add(apps, schema_editor):
    for table, column in COLUMNS.items():
        schema_editor.execute(f"ALTER TABLE {table} ADD COLUMN {column}")


def remove(apps, schema_editor):
    for table, column in COLUMNS.items():
        schema_editor.execute(f"ALTER TABLE {table} DROP COLUMN {column.split()[0]}")


def begin(apps, schema_editor):
    apps.get_model("tenants", "AuditSealer").objects.get_or_create(id=1)


class Migration(migrations.Migration):

    dependencies = [
        ('tenants', '0003_idempotency_key'),
    ]

    operations = [
        # ADD COLUMN on both engines: no row is rewritten, and the previous version can still insert.
        migrations.SeparateDatabaseAndState(
            [migrations.RunPython(add, remove)],
            [
                migrations.AddField("auditevent", "address", models.CharField(blank=True, db_default="", default="", max_length=45)),
                migrations.AddField(
                    "tenant",
                    "tier",
                    models.CharField(
                        choices=[("free", "Free"), ("standard", "Standard"), ("premium", "Premium")],
                        db_default="standard",
                        default="standard",
                        max_length=16,
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name='AuditBlock',
            fields=[
                ('id', models.BigAutoField(primary_key=True, serialize=False)),
                ('tenant', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='tenants.tenant')),
                ('number', models.PositiveBigIntegerField()),
                ('first_id', models.PositiveBigIntegerField()),
                ('last_id', models.PositiveBigIntegerField()),
                ('count', models.PositiveIntegerField()),
                ('last_at', models.DateTimeField()),
                ('sealed_at', models.DateTimeField()),
                ('previous', models.BinaryField(max_length=32)),
                ('hash', models.BinaryField(max_length=32)),
                ('marks', models.BinaryField()),
                ('signature', models.BinaryField(max_length=32)),
            ],
            options={
                'db_table': 'sfm_audit_blocks',
                'abstract': False,
                'base_manager_name': 'all_tenants',
                'default_manager_name': 'all_tenants',
                'constraints': [models.UniqueConstraint(fields=('tenant', 'number'), name='sfm_audit_block_number')],
            },
            managers=[
                ('all_tenants', django.db.models.manager.Manager()),
            ],
        ),
        migrations.CreateModel(
            name='AuditCheckpoint',
            fields=[
                ('id', models.BigAutoField(primary_key=True, serialize=False)),
                ('tenant', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='tenants.tenant')),
                ('number', models.PositiveBigIntegerField()),
                ('last_id', models.PositiveBigIntegerField()),
                ('hash', models.BinaryField(max_length=32)),
                ('at', models.DateTimeField()),
                ('previous', models.BinaryField(max_length=32)),
                ('signature', models.BinaryField(max_length=32)),
            ],
            options={
                'db_table': 'sfm_audit_checkpoints',
                'abstract': False,
                'base_manager_name': 'all_tenants',
                'default_manager_name': 'all_tenants',
                'constraints': [models.UniqueConstraint(fields=('tenant', 'number'), name='sfm_audit_checkpoint_number')],
            },
            managers=[
                ('all_tenants', django.db.models.manager.Manager()),
            ],
        ),
        migrations.CreateModel(
            name='AuditSealer',
            fields=[
                ('id', models.PositiveSmallIntegerField(default=1, primary_key=True, serialize=False)),
                ('sealed_to', models.PositiveBigIntegerField(default=0)),
            ],
            options={
                'db_table': 'sfm_audit_sealer',
            },
        ),
        migrations.CreateModel(
            name='DailyUsage',
            fields=[
                ('id', models.BigAutoField(primary_key=True, serialize=False)),
                ('tenant', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='tenants.tenant')),
                ('day', models.DateField()),
                ('requests', models.BigIntegerField(default=0)),
                ('llm_tokens', models.BigIntegerField(default=0)),
            ],
            options={
                'db_table': 'sfm_usage_daily',
                'abstract': False,
                'base_manager_name': 'all_tenants',
                'default_manager_name': 'all_tenants',
                'constraints': [models.UniqueConstraint(fields=('tenant', 'day'), name='sfm_usage_day')],
            },
            managers=[
                ('all_tenants', django.db.models.manager.Manager()),
            ],
        ),
        migrations.CreateModel(
            name='ErasedTenant',
            fields=[
                ('tenant_id', models.UUIDField(primary_key=True, serialize=False)),
                ('slug_digest', models.BinaryField(db_index=True, max_length=32)),
                ('erased_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('confirmed_at', models.DateTimeField(null=True)),
            ],
            options={
                'db_table': 'sfm_erased_tenants',
            },
        ),
        migrations.CreateModel(
            name='UsageStripe',
            fields=[
                ('id', models.BigAutoField(primary_key=True, serialize=False)),
                ('tenant', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='tenants.tenant')),
                ('stripe', models.SmallIntegerField()),
                ('memories', models.BigIntegerField(default=0)),
                ('bytes', models.BigIntegerField(default=0)),
                ('counted_at', models.DateTimeField(null=True)),
            ],
            options={
                'db_table': 'sfm_usage_stripes',
                'abstract': False,
                'base_manager_name': 'all_tenants',
                'default_manager_name': 'all_tenants',
                'constraints': [models.UniqueConstraint(fields=('tenant', 'stripe'), name='sfm_usage_stripe')],
            },
            managers=[
                ('all_tenants', django.db.models.manager.Manager()),
            ],
        ),
        migrations.AddField(
            model_name='auditevent',
            name='after_hash',
            field=models.BinaryField(max_length=32, null=True),
        ),
        migrations.AddField(
            model_name='auditevent',
            name='before_hash',
            field=models.BinaryField(max_length=32, null=True),
        ),
        migrations.AddField(
            model_name='tenant',
            name='quota_bytes',
            field=models.PositiveBigIntegerField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='tenant',
            name='quota_keys',
            field=models.PositiveBigIntegerField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='tenant',
            name='quota_llm_tokens_per_day',
            field=models.PositiveBigIntegerField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='tenant',
            name='quota_memories',
            field=models.PositiveBigIntegerField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='tenant',
            name='quota_requests_per_day',
            field=models.PositiveBigIntegerField(blank=True, null=True),
        ),
        migrations.RunPython(begin, migrations.RunPython.noop),
        migrations.RunPython(guard, unguard),
    ]
