"""Index the log by tenant and number, the order in which it is listed, sealed and verified."""

from django.db import migrations, models

from somamemory.db.migration_operations import AddIndexOnline, RemoveIndexOnline


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("tenants", "0004_operations")]
    operations = [
        AddIndexOnline("auditevent", models.Index(fields=["tenant", "id"], name="sfm_audit_tenant_id")),
        RemoveIndexOnline("auditevent", "sfm_audit_tenant_at"),
    ]
