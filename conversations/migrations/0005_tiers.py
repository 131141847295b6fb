import django.db.models.deletion
import django.db.models.manager
import django.utils.timezone
import memories.models
import uuid
from django.db import migrations, models


def add(apps, schema_editor):
    schema_editor.execute("ALTER TABLE sfm_conversations ADD COLUMN tier varchar(16) DEFAULT 'active'")


def remove(apps, schema_editor):
    schema_editor.execute("ALTER TABLE sfm_conversations DROP COLUMN tier")


class Migration(migrations.Migration):

    dependencies = [
        ('conversations', '0004_chores'),
        ('tenants', '0005_audit_index'),
    ]

    operations = [
        migrations.CreateModel(
            name='ColdFile',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('conversation_id', models.UUIDField()),
                ('name', models.CharField(max_length=255)),
                ('bytes', models.PositiveBigIntegerField()),
                ('memories', models.PositiveIntegerField()),
                ('size', models.PositiveBigIntegerField()),
                ('written_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('dropped_at', models.DateTimeField(null=True)),
                ('tenant', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='tenants.tenant')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('tenant', 'name'), name='sfm_cold_files_name'), models.UniqueConstraint(condition=models.Q(('dropped_at__isnull', True)), fields=('tenant', 'conversation_id'), name='sfm_one_cold_file')],
                'indexes': [models.Index(condition=models.Q(('dropped_at__isnull', False)), fields=['dropped_at'], name='sfm_cold_files_dropped')],
                'db_table': 'sfm_cold_files',
                'abstract': False,
                'base_manager_name': 'all_tenants',
                'default_manager_name': 'all_tenants',
            },
            managers=[
                ('all_tenants', django.db.models.manager.Manager()),
            ],
        ),
        migrations.CreateModel(
            name='DeletedConversation',
            fields=[
                ('id', models.BigAutoField(primary_key=True, serialize=False)),
                ('conversation_id', models.UUIDField()),
                ('key', memories.models.KeyField(max_length=16)),
                ('deleted_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('tenant', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='tenants.tenant')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('tenant', 'conversation_id'), name='sfm_deleted_conversation')],
                'indexes': [models.Index(fields=['deleted_at'], name='sfm_deleted_conversations_at')],
                'db_table': 'sfm_deleted_conversations',
                'abstract': False,
                'base_manager_name': 'all_tenants',
                'default_manager_name': 'all_tenants',
            },
            managers=[
                ('all_tenants', django.db.models.manager.Manager()),
            ],
        ),
        migrations.CreateModel(
            name='Upkeep',
            fields=[
                ('id', models.BigAutoField(primary_key=True, serialize=False)),
                ('active_days', models.PositiveIntegerField(null=True)),
                ('archived_days', models.PositiveIntegerField(null=True)),
                ('pruning', models.CharField(choices=[('off', 'Off'), ('report', 'Report'), ('archive', 'Archive')], default='off', max_length=16)),
                ('pruning_days', models.FloatField(default=90.0)),
                ('pruning_importance', models.FloatField(default=5.0)),
                ('ran_at', models.DateTimeField(null=True)),
                ('pruned_at', models.DateTimeField(null=True)),
                ('positions', memories.models.JsonField(default=dict)),
                ('report', memories.models.JsonField(default=dict)),
                ('tenant', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='tenants.tenant')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('tenant',), name='sfm_upkeep_tenant')],
                'db_table': 'sfm_upkeep',
                'abstract': False,
                'base_manager_name': 'all_tenants',
                'default_manager_name': 'all_tenants',
            },
            managers=[
                ('all_tenants', django.db.models.manager.Manager()),
            ],
        ),
        migrations.AddField(
            model_name='conversation',
            name='archived_at',
            field=models.DateTimeField(null=True),
        ),
        # Django would make the column NOT NULL and, on SQLite, copy the table to do so.
        migrations.SeparateDatabaseAndState(
            [migrations.RunPython(add, remove)],
            [migrations.AddField('conversation', 'tier', models.CharField(choices=[('active', 'Active'), ('archived', 'Archived'), ('cold', 'Cold')], db_default='active', default='active', max_length=16))],
        ),
    ]
