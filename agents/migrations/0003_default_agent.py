"""The default agent, there from the start: websocket mode, offline, so its messages wait."""

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps


def create_default_agent(apps: StateApps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    Agent = apps.get_model("agents", "Agent")
    Lane = apps.get_model("deliveries", "Lane")
    using = schema_editor.connection.alias
    if Agent.objects.using(using).filter(is_default=True).exists():
        return
    # Historical models have no save() of ours, which would make the lane and hold it.
    lane = Lane.objects.using(using).create(kind="agent", label="default", cap=4, state="held")
    Agent.objects.using(using).create(
        name="default",
        is_default=True,
        connection_mode="websocket",
        connection_status="offline",
        concurrency=4,
        lane=lane,
    )


class Migration(migrations.Migration):
    dependencies = [
        ("agents", "0002_initial"),
        ("deliveries", "0001_initial"),
    ]

    # Going back, the tables go with their rows.
    operations = [migrations.RunPython(create_default_agent, migrations.RunPython.noop)]
