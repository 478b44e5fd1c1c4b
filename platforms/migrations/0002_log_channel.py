"""The log channel, there from the start: where a route delivers that names nothing else."""

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps


def create_log_channel(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    Channel = apps.get_model("platforms", "Channel")
    Lane = apps.get_model("deliveries", "Lane")
    using = schema_editor.connection.alias
    if Channel.objects.using(using).filter(name="log").exists():
        return
    # Historical models have no save() of ours, which would make the lane.
    lane = Lane.objects.using(using).create(kind="channel", label="log", cap=4)
    Channel.objects.using(using).create(name="log", kind="log", lane=lane)


class Migration(migrations.Migration):
    dependencies = [
        ("platforms", "0001_initial"),
        ("deliveries", "0001_initial"),
    ]

    # Going back, the tables go with their rows.
    operations = [migrations.RunPython(create_log_channel, migrations.RunPython.noop)]
