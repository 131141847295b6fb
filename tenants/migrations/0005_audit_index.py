"""The log is walked by tenant and number: in lists, when it is sealed, and when it is checked."""

from django.db import migrations, models

from somamemory.db.migration_operations import AddIndexOnline, RemoveIndexOnline


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("tenants", "0004_operations")]
    operations = [
        AddIndexOnline("auditevent", models.Index(fields=["tenant", "id"], name="sfm_audit_tenant_id")),
        RemoveIndexOnline("auditevent", "sfm_audit_tenant_at"),
    ]
