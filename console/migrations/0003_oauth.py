"""Connected apps (OAuth)."""

import django.db.models.deletion
import django.utils.timezone
import uuid
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('console', '0002_second_factor'),
        ('tenants', '0011_key_resource'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='OAuthClient',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('client_id', models.CharField(max_length=500, unique=True)),
                ('name', models.CharField(max_length=200)),
                ('redirect_uris', models.JSONField(default=list)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('fetched_at', models.DateTimeField(null=True)),
            ],
            options={
                'db_table': 'sfm_oauth_clients',
            },
        ),
        migrations.CreateModel(
            name='OAuthGrant',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('scopes', models.JSONField(default=list)),
                ('namespaces', models.JSONField(default=list)),
                ('user_id', models.CharField(max_length=255, null=True)),
                ('resource', models.CharField(max_length=500)),
                ('redirect_uri', models.CharField(max_length=500)),
                ('code_challenge', models.CharField(max_length=43)),
                ('code_digest', models.BinaryField(db_index=True, max_length=32)),
                ('code_used_at', models.DateTimeField(null=True)),
                ('refresh_digest', models.BinaryField(default=b'', max_length=32)),
                ('generation', models.PositiveIntegerField(default=0)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('expires_at', models.DateTimeField(db_index=True)),
                ('revoked_at', models.DateTimeField(null=True)),
                ('approved_by', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('client', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='grants', to='console.oauthclient')),
                ('key', models.OneToOneField(null=True, on_delete=django.db.models.deletion.CASCADE, related_name='grant', to='tenants.apikey')),
                ('tenant', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to='tenants.tenant')),
            ],
            options={
                'db_table': 'sfm_oauth_grants',
                'verbose_name': 'connected app',
            },
        ),
    ]
