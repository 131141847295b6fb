"""Create the table of jobs, and indexes on the outbox that begin with the generation."""

import django.db.models.deletion
import django.utils.timezone
import uuid
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('memories', '0003_access_counters'),
        ('tenants', '0003_idempotency_key'),
    ]

    operations = [
        migrations.CreateModel(
            name='Job',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('kind', models.CharField(choices=[('rebuild_embeddings', 'Rebuild'), ('reconcile', 'Reconcile')], max_length=32)),
                ('state', models.CharField(choices=[('queued', 'Queued'), ('running', 'Running'), ('done', 'Done'), ('failed', 'Failed')], default='queued', max_length=16)),
                ('data', models.JSONField(default=dict)),
                ('done', models.PositiveBigIntegerField(default=0)),
                ('total', models.PositiveBigIntegerField(null=True)),
                ('error', models.CharField(blank=True, max_length=500)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('started_at', models.DateTimeField(null=True)),
                ('finished_at', models.DateTimeField(null=True)),
                ('lease', models.UUIDField(null=True)),
                ('lease_until', models.DateTimeField(null=True)),
            ],
            options={
                'db_table': 'sfm_jobs',
            },
        ),
        migrations.RemoveIndex(
            model_name='vectorembedding',
            name='sfm_embeddings_due',
        ),
        migrations.RemoveIndex(
            model_name='vectorembedding',
            name='sfm_embeddings_backlog',
        ),
        migrations.AddIndex(
            model_name='vectorembedding',
            index=models.Index(condition=models.Q(('due_at__isnull', False)), fields=['generation', 'due_at'], name='sfm_embeddings_queue'),
        ),
        migrations.AddIndex(
            model_name='vectorembedding',
            index=models.Index(condition=models.Q(('due_at__isnull', False)), fields=['tenant', 'generation', 'due_at'], name='sfm_embeddings_waiting'),
        ),
        migrations.AddField(
            model_name='job',
            name='tenant',
            field=models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='tenants.tenant'),
        ),
        migrations.AddConstraint(
            model_name='job',
            constraint=models.UniqueConstraint(condition=models.Q(('state__in', ['queued', 'running'])), fields=('kind',), name='sfm_one_open_job'),
        ),
    ]
