"""The people and places of the admin's tests, and a gateway that looks well."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.utils import timezone

from deliveries.models import Runner
from hermes_site import metrics
from hermes_site.models import AlertSettings
from platforms.models import Channel
from tests.admin.conftest import (  # noqa: F401
    agent,
    channel,
    operator,
    person_with,
    route,
    unreachable,
)


@pytest.fixture(autouse=True)
def _fresh(settings: Any) -> None:
    """Keep no answer from another test, and no token that the machine may have."""
    settings.METRICS_TOKEN = ""
    metrics._kept = (-metrics.KEEP_SECONDS, b"")


@pytest.fixture
def runner(db: None) -> Runner:
    """A lane runner that is alive."""
    return Runner.objects.create(slot=0, token=uuid4(), beat_at=timezone.now())


@pytest.fixture
def told(db: None) -> AlertSettings:
    """Alert settings with a channel, and a look at the state a minute ago."""
    ops = Channel.objects.create(name="ops", kind="log")
    limits = AlertSettings(channel=ops, looked_at=timezone.now() - timedelta(minutes=1))
    limits.save()
    return limits
