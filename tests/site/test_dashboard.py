"""What needs a person first, on the dashboard."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
import time_machine
from django.test import Client
from django.utils import timezone

from agents.models import Agent
from hermes_site import dashboard
from hermes_site.models import Incident
from platforms.models import Channel, SessionWebhook
from routes.models import Route
from tests.admin.rows import a_delivery, a_refusal

pytestmark = pytest.mark.django_db


def page(client: Client) -> str:
    return client.get("/admin/").content.decode()


def an_incident(**fields: Any) -> Incident:
    now = timezone.now()
    return Incident.objects.create(**({"opened_at": now, "seen_at": now} | fields))


def test_a_route_with_many_errors_is_named_with_the_way_to_it(
    operator: Client, route: Route
) -> None:
    an_incident(kind="route", subject=route.name, label=route.name, detail="Of 12, 9 refused.")
    shown = page(operator)
    assert "Of 12, 9 refused." in shown
    assert f'<a href="/admin/routes/route/{route.pk}/change/"><strong>github-pr' in shown


def test_what_is_about_to_expire_is_named(operator: Client, agent: Agent) -> None:
    lane = str(agent.lane_id)
    an_incident(kind="expiring", subject=lane, label="DemoBot", detail="2 will be dropped.")
    shown = page(operator)
    assert "2 will be dropped." in shown
    assert f"/admin/agents/agent/{agent.pk}/change/" in shown


def test_an_incident_that_is_over_is_not(operator: Client) -> None:
    an_incident(kind="expiring", subject="1", detail="dropped", closed_at=timezone.now())
    assert "Incident</a>" not in page(operator)


def test_an_unreachable_agent_is_named_once(operator: Client, unreachable: Agent) -> None:
    an_incident(kind="agent", subject=str(unreachable.pk), label="DemoBot")
    shown = page(operator).partition('id="attention"')[2].partition('id="numbers"')[0]
    assert shown.count("DemoBot") == 1


@pytest.mark.parametrize(
    ("now", "before", "grown"), [(9, 0, False), (10, 0, True), (12, 5, False), (15, 5, True)]
)
def test_refusals_have_grown_from_a_number_and_a_share_on(
    now: int, before: int, grown: bool
) -> None:
    moment = timezone.now()
    for _ in range(now):
        a_refusal(at=moment - timedelta(minutes=30))
    for _ in range(before):
        a_refusal(at=moment - timedelta(minutes=90))
    found = dashboard.growing(moment)
    assert (found is not None) is grown
    if found:
        assert (found.now, found.before, found.mostly) == (now, before, "invalid_signature")


def test_refusals_that_grow_are_said(operator: Client) -> None:
    for _ in range(10):
        a_refusal()
    assert "10 in the last hour, 0 in the hour before, mostly invalid_signature." in page(operator)


def a_session(channel: Channel, **fields: Any) -> SessionWebhook:
    now = timezone.now()
    defaults = {
        "channel": channel, "conversation_id": uuid4().hex, "url": "https://x.example",
        "title": "Support", "expires_at": now + timedelta(minutes=5), "warned_at": now,
        "conversation_type": "1", "connection": uuid4(), "created_at": now,
    }  # fmt: skip
    return SessionWebhook.objects.create(**(defaults | fields))


def test_a_chat_that_soon_can_not_be_answered_is_named(operator: Client, channel: Channel) -> None:
    a_session(channel)
    assert "answers stop at" in page(operator)


@pytest.mark.parametrize(
    "fields",
    [
        {"staff_id": "7"},  # the Robot OpenAPI reaches it
        {"conversation_type": "2"},
        {"warned_at": None},  # not soon
        {"expires_at": timezone.now() - timedelta(minutes=1)},  # it has ended
    ],
)
def test_a_chat_that_can_be_answered_is_not(channel: Channel, fields: dict[str, Any]) -> None:
    a_session(channel, **fields)
    assert dashboard.ending_sessions(timezone.now()) == []


def test_who_may_not_see_refusals_and_incidents_is_told_of_none(
    person_with: Callable[..., Client],
) -> None:
    for _ in range(10):
        a_refusal()
    an_incident(kind="expiring", subject="1", detail="2 will be dropped.")
    shown = page(person_with("deliveries.view_delivery"))
    assert "Refusals grow" not in shown
    assert "2 will be dropped." not in shown


def test_each_hour_counts_what_was_made_in_it_by_what_became_of_it(agent: Agent) -> None:
    with time_machine.travel(datetime(2026, 3, 4, 12, 40, tzinfo=UTC), tick=False):
        for hours in range(26):
            a_delivery(agent.lane_id, age=timedelta(hours=hours))
        a_delivery(agent.lane_id, "skipped", age=timedelta(hours=23))
        a_delivery(agent.lane_id, "unreachable", age=timedelta(hours=2))
        hours = dashboard.hourly(timezone.now())
    assert [hour.delivered for hour in hours] == [1] * 25  # the first is a broken one
    assert (hours[-24].skipped, hours[-3].failed) == (1, 1)


def test_the_day_is_one_question(agent: Agent, django_assert_num_queries: Any) -> None:
    a_delivery(agent.lane_id)
    with django_assert_num_queries(1):
        dashboard.hourly(timezone.now())
