"""The version that tells the receive path to load its routes anew."""

from collections.abc import Callable

import pytest
from django.db import transaction

from agents.models import Agent
from platforms.models import Channel
from routes.models import Route, RouteSecret, RouteVersion
from routes.services import subscribe

pytestmark = pytest.mark.django_db


def version() -> int:
    return RouteVersion.objects.values_list("version", flat=True).first() or 0


def a_secret() -> RouteSecret:
    return RouteSecret.objects.create(route=Route.objects.create(name="s"), value="x")


@pytest.mark.parametrize(
    "make",
    [
        lambda: Route.objects.create(name="a"),
        a_secret,
        lambda: Channel.objects.create(name="a", kind="telegram"),
        lambda: Agent.objects.create(name="a"),
    ],
    ids=["route", "secret", "channel", "agent"],
)
def test_making_changing_and_deleting_count(
    make: Callable[[], Route | RouteSecret | Channel | Agent],
) -> None:
    seen = [version()]
    row = make()
    seen.append(version())
    row.save()
    seen.append(version())
    row.delete()
    seen.append(version())
    assert seen == sorted(set(seen))


def test_a_change_that_is_rolled_back_does_not_count() -> None:
    before = version()
    with transaction.atomic():
        subscribe("a")
        transaction.set_rollback(True)
    assert version() == before
