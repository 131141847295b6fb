"""Name API keys correctly in the console. Does not change the database."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("tenants", "0014_erasure_signature")]

    operations = [migrations.AlterModelOptions("apikey", {"verbose_name": "API key"})]
