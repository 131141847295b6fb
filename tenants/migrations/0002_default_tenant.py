"""Create the `default` tenant, which exists after the first migration."""

from django.db import migrations


def create_default(apps, schema_editor):
    apps.get_model("tenants", "Tenant").objects.get_or_create(slug="default", defaults={"name": "Default"})


class Migration(migrations.Migration):
    dependencies = [("tenants", "0001_initial")]
    operations = [migrations.RunPython(create_default, migrations.RunPython.noop)]
