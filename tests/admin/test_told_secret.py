"""A secret that the source told: seen for an hour, to be pasted back; and waited for anew."""

from collections.abc import Callable
from datetime import timedelta

import pytest
import time_machine
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.utils import timezone

from routes.models import Route
from routes.services import SHOWN_FOR, rotate_secret

pytestmark = pytest.mark.django_db

TOKEN = "secret_tMrlL1qK5vuQAh1b6cZGhFChZTSYJlce"


@pytest.fixture
def notes() -> Route:
    """A route that waits for Notion."""
    return Route.objects.create(name="notes", preset="notion")


def page(route: Route, act: str = "change") -> str:
    return f"/admin/routes/route/{route.pk}/{act}/"


def test_the_page_says_what_the_route_waits_for(operator: Client, notes: Route) -> None:
    shown = operator.get(page(notes)).content.decode()
    assert "Notion tells it when you set it up there" in shown
    assert "copy-secret" not in shown
    assert "await-secret" not in shown


def test_what_was_told_is_announced_and_shown_on_demand(operator: Client, notes: Route) -> None:
    rotate_secret(notes, timedelta(0), TOKEN)
    shown = operator.get(page(notes)).content.decode()
    assert "Notion told its secret" in shown
    assert TOKEN not in shown
    asked = operator.get(page(notes, "copy-secret")).content.decode()
    assert "wants it pasted back" in asked
    assert TOKEN not in asked

    response = operator.post(page(notes, "copy-secret"))
    assert TOKEN in response.content.decode()
    assert "no-store" in response["Cache-Control"]
    assert LogEntry.objects.get().change_message == "Looked at the secret that the sender told."


def test_after_an_hour_it_is_shown_no_more(operator: Client, notes: Route) -> None:
    rotate_secret(notes, timedelta(0), TOKEN)
    with time_machine.travel(timezone.now() + SHOWN_FOR + timedelta(minutes=1)):
        assert "Notion told its secret" not in operator.get(page(notes)).content.decode()
        assert "none was told" in operator.get(page(notes, "copy-secret")).content.decode()
        response = operator.post(page(notes, "copy-secret"), follow=True)
    assert TOKEN not in response.content.decode()
    assert "Let the sender send it again" in response.content.decode()


def test_the_secret_of_another_source_is_never_shown(operator: Client, route: Route) -> None:
    rotate_secret(route, timedelta(0), TOKEN)
    assert TOKEN not in operator.post(page(route, "copy-secret"), follow=True).content.decode()
    assert (
        "Nothing was changed"
        in operator.post(page(route, "await-secret"), follow=True).content.decode()
    )
    assert route.secrets.live().count() == 1


def test_it_may_wait_for_a_new_one(operator: Client, notes: Route) -> None:
    rotate_secret(notes, timedelta(0), TOKEN)
    assert (
        "forgets its secret at once" in operator.get(page(notes, "await-secret")).content.decode()
    )
    assert notes.secrets.live().exists()
    operator.post(page(notes, "await-secret"))
    assert not notes.secrets.live().exists()
    assert LogEntry.objects.get().change_message == "Let it wait for a new secret."


@pytest.mark.parametrize("act", ["copy-secret", "await-secret"])
def test_neither_is_for_who_may_only_look(
    person_with: Callable[..., Client], notes: Route, act: str
) -> None:
    rotate_secret(notes, timedelta(0), TOKEN)
    reader = person_with("routes.view_route")
    assert "copy-secret" not in reader.get(page(notes)).content.decode()
    assert reader.post(page(notes, act)).status_code == 403
    assert notes.secrets.live().exists()
