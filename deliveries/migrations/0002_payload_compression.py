"""On PostgreSQL, bodies are compressed with LZ4: the default, pglz, takes ten times as long and
packs worse (facts/performance.md A4.3). A server built without LZ4 keeps them as they are."""

from django.db import migrations

FORWARDS = """
DO $$
BEGIN
    ALTER TABLE deliveries_payload ALTER COLUMN body SET COMPRESSION lz4;
EXCEPTION WHEN OTHERS THEN
    ALTER TABLE deliveries_payload ALTER COLUMN body SET STORAGE EXTERNAL;
END
$$
"""


def compress(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(FORWARDS)


class Migration(migrations.Migration):
    dependencies = [("deliveries", "0001_initial")]
    operations = [migrations.RunPython(compress, migrations.RunPython.noop)]
