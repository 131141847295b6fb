"""Sign the records of erased tenants. The previous version does not write this column."""

from django.db import migrations, models

from tenants.audit import chain


def sign(apps, schema_editor):
    """Sign the records whose erasure is in the operators' log. `verify_audit` reports the others."""
    gone = apps.get_model("tenants", "ErasedTenant").objects.all()
    if not gone:
        return
    events = apps.get_model("tenants", "AuditEvent").objects.filter(tenant__slug="default", action="tenant.erase")
    logged = set(events.values_list("target", flat=True))
    for record in gone:
        if str(record.tenant_id) in logged:
            record.signature = chain.sign_erasure(record.tenant_id, record.had_chain)
            record.save(update_fields=["signature"])


class Migration(migrations.Migration):
    dependencies = [("tenants", "0013_stored_per_day")]

    operations = [
        migrations.AddField("erasedtenant", "signature", models.BinaryField(max_length=32, null=True)),
        migrations.RunPython(sign, migrations.RunPython.noop),
    ]
