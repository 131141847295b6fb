"""Keep earlier versions of links, for `as_of`. The history of existing tenants begins with this migration."""

import django.db.models.deletion
import django.db.models.manager
import django.utils.timezone
import memories.models
from django.db import migrations, models


def begin_history(apps, schema_editor):
    """Let each tenant's history begin now, because earlier changes to links were not recorded."""
    apps.get_model("tenants", "Tenant").objects.update(history_since=django.utils.timezone.now())


class Migration(migrations.Migration):

    dependencies = [
        ('graph', '0003_user_id'),
        ('tenants', '0010_key_user_id'),
    ]

    operations = [
        migrations.CreateModel(
            name='LinkVersion',
            fields=[
                ('namespace', memories.models.KeyField(max_length=255)),
                ('from_key', memories.models.KeyField(max_length=512)),
                ('to_key', memories.models.KeyField(max_length=512)),
                ('link_type', memories.models.KeyField(max_length=100)),
                ('strength', models.FloatField(default=1.0)),
                ('valid_from', models.DateTimeField(null=True)),
                ('valid_to', models.DateTimeField(null=True)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('updated_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('metadata', memories.models.JsonField(default=dict)),
                ('bytes', models.PositiveIntegerField(db_default=0, default=0)),
                ('user_id', memories.models.KeyField(max_length=255, null=True)),
                ('id', models.BigAutoField(primary_key=True, serialize=False)),
                ('until', models.DateTimeField()),
                ('tenant', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='tenants.tenant')),
            ],
            options={
                'db_table': 'sfm_graph_link_versions',
                'abstract': False,
                'base_manager_name': 'all_tenants',
                'default_manager_name': 'all_tenants',
                'indexes': [models.Index(fields=['tenant', 'namespace', 'to_key', 'until'], name='sfm_link_versions_in'), models.Index(fields=['tenant', 'until'], name='sfm_link_versions_age')],
                'constraints': [models.UniqueConstraint(fields=('tenant', 'namespace', 'from_key', 'to_key', 'link_type', 'until'), name='sfm_link_versions_out')],
            },
            managers=[
                ('all_tenants', django.db.models.manager.Manager()),
            ],
        ),
        migrations.RunPython(begin_history, migrations.RunPython.noop),
    ]
