"""Sign the sealer's position. Columns that the previous version does not write have a default in the database."""

import secrets

from django.db import migrations, models

from tenants.audit import chain

COLUMNS = {
    "sfm_audit_sealer": ("signed_to bigint", "accepted_to bigint", "chains bigint", "published_to bigint"),
    "sfm_erased_tenants": ("had_chain bool",),
}
BINARY = ("genesis", "signature")


def add(apps, schema_editor):
    binary = "bytea" if schema_editor.connection.vendor == "postgresql" else "BLOB"
    empty = "''" if schema_editor.connection.vendor == "postgresql" else "x''"
    for table, columns in COLUMNS.items():
        for column in columns:
            default = "false" if column.endswith("bool") else "0"
            schema_editor.execute(f"ALTER TABLE {table} ADD COLUMN {column} DEFAULT {default} NOT NULL")
    for column in BINARY:
        schema_editor.execute(f"ALTER TABLE sfm_audit_sealer ADD COLUMN {column} {binary} DEFAULT {empty} NOT NULL")


def remove(apps, schema_editor):
    for column in BINARY:
        schema_editor.execute(f"ALTER TABLE sfm_audit_sealer DROP COLUMN {column}")
    for table, columns in COLUMNS.items():
        for column in columns:
            schema_editor.execute(f"ALTER TABLE {table} DROP COLUMN {column.split()[0]}")


def sign(apps, schema_editor):
    """Accept the current position, because nothing has protected it so far."""
    sealer = apps.get_model("tenants", "AuditSealer").objects.get_or_create(id=1)[0]
    sealer.genesis = secrets.token_bytes(16)
    sealer.signed_to = sealer.sealed_to
    sealer.chains = apps.get_model("tenants", "AuditBlock").all_tenants.values("tenant_id").distinct().count()
    sealer.signature = chain.sign_progress(sealer.genesis, sealer.signed_to, sealer.accepted_to, sealer.chains)
    sealer.save()


class Migration(migrations.Migration):
    dependencies = [("tenants", "0006_language_models")]

    operations = [
        migrations.SeparateDatabaseAndState(
            [migrations.RunPython(add, remove)],
            [
                migrations.AddField(
                    "auditsealer", "genesis", models.BinaryField(db_default=b"", default=b"", max_length=16)
                ),
                migrations.AddField("auditsealer", "signed_to", models.PositiveBigIntegerField(db_default=0, default=0)),
                migrations.AddField(
                    "auditsealer", "accepted_to", models.PositiveBigIntegerField(db_default=0, default=0)
                ),
                migrations.AddField("auditsealer", "chains", models.PositiveBigIntegerField(db_default=0, default=0)),
                migrations.AddField(
                    "auditsealer", "published_to", models.PositiveBigIntegerField(db_default=0, default=0)
                ),
                migrations.AddField(
                    "auditsealer", "signature", models.BinaryField(db_default=b"", default=b"", max_length=32)
                ),
                migrations.AddField("erasedtenant", "had_chain", models.BooleanField(db_default=False, default=False)),
            ],
        ),
        migrations.RunPython(sign, migrations.RunPython.noop),
    ]
