"""The dashboard."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client
from django.utils import timezone

from agents.models import Agent
from deliveries.models import Event, Runner
from hermes_site import dashboard
from platforms.models import Channel
from routes.models import Route

from .rows import a_delivery, an_event

pytestmark = pytest.mark.django_db


def page(client: Client) -> str:
    return client.get("/admin/").content.decode()


def test_an_unreachable_agent_is_named_with_a_link_to_recover_it(
    operator: Client, unreachable: Agent
) -> None:
    shown = page(operator)
    assert "has been unreachable for" in shown
    assert f"/admin/agents/agent/{unreachable.pk}/recover/" in shown


def test_an_offline_agent_is_named_only_when_something_waits_for_it(
    operator: Client, agent: Agent
) -> None:
    Agent.objects.filter(pk=agent.pk).update(connection_status="offline")
    assert "has been offline for" not in page(operator)
    a_delivery(agent.lane_id, "pending")
    assert "has been offline for" in page(operator)


def test_a_channel_that_needs_attention_says_why(operator: Client, channel: Channel) -> None:
    Channel.objects.filter(pk=channel.pk).update(
        health="needs_attention", health_reason="Telegram answered 401: Unauthorized."
    )
    assert "Telegram answered 401: Unauthorized." in page(operator)


def test_an_unsigned_route_is_named(operator: Client, route: Route) -> None:
    Route.objects.filter(pk=route.pk).update(insecure_no_auth=True)
    assert "takes unsigned requests" in page(operator)


@pytest.mark.parametrize(
    ("age", "said"),
    [(None, True), (timedelta(seconds=11), True), (timedelta(seconds=5), False)],
)
def test_a_worker_without_a_heartbeat_of_the_last_ten_seconds_is_not_running(
    operator: Client, age: timedelta | None, said: bool
) -> None:
    if age is not None:
        Runner.objects.create(slot=0, token=uuid4(), beat_at=timezone.now() - age)
    assert ("The worker is not running." in page(operator)) is said


def test_the_numbers_count_the_last_24_hours_and_link_to_their_rows(
    operator: Client, agent: Agent
) -> None:
    for status in ("delivered", "delivered", "delivered", "failed", "pending", "unreachable"):
        a_delivery(agent.lane_id, status, age=timedelta(hours=2))
    a_delivery(agent.lane_id, "failed", age=timedelta(hours=25))
    traffic = dashboard.traffic()
    assert (traffic.total, traffic.share, traffic.waiting, traffic.failed) == (6, "60.0", "1", 2)
    shown = page(operator)
    assert (
        'href="/admin/deliveries/delivery/?since=24h&amp;status=lost"><strong>2</strong>' in shown
    )


def test_every_delivery_is_drawn_in_the_hour_it_was_made(agent: Agent) -> None:
    now = timezone.now()
    for hours in (0, 3, 3):
        a_delivery(agent.lane_id, age=timedelta(hours=hours))
    hours = dashboard.hourly(now)
    assert len(hours) == 25
    assert hours[-1].delivered == 1
    assert hours[-4].delivered == 2


def test_the_highest_hour_fills_the_drawing_and_an_empty_day_draws_no_bar() -> None:
    start = timezone.now()
    hours = [dashboard.Hour(start) for _ in range(24)]
    assert all(not bar.parts for bar in dashboard.draw(hours).bars)
    hours[5].delivered, hours[5].failed = 3, 1
    parts = dashboard.draw(hours).bars[5].parts
    assert [part.kind for part in parts] == ["delivered", "failed"]
    assert parts[-1].y == pytest.approx(8)


def test_the_drawing_has_a_title_and_a_description(operator: Client, agent: Agent) -> None:
    a_delivery(agent.lane_id)
    shown = page(operator)
    assert 'role="img" aria-labelledby="chart-title chart-desc"' in shown
    assert "1 delivered, 0 waiting, 0 failed." in shown


def test_recent_failures_are_listed_newest_first(operator: Client, agent: Agent) -> None:
    old = a_delivery(agent.lane_id, "failed", age=timedelta(hours=3), error_class="timeout")
    new = a_delivery(agent.lane_id, "unreachable", age=timedelta(hours=1), error_class="expired")
    assert dashboard.failures() == [new, old]
    assert "timeout" in page(operator)


def test_next_steps_stand_there_until_the_first_event(operator: Client) -> None:
    Event.objects.all().delete()
    assert "Next steps" in page(operator)
    an_event()
    assert "Next steps" not in page(operator)


def test_who_may_see_nothing_sees_no_numbers(
    person_with: Callable[..., Client], unreachable: Agent
) -> None:
    a_delivery(unreachable.lane_id, "failed")
    shown = page(person_with())
    assert "deliveries, 24 h" not in shown
    assert "DemoBot" not in shown


def test_the_dashboard_asks_a_bounded_number_of_questions(
    operator: Client, agent: Agent, django_assert_max_num_queries: Any
) -> None:
    for number in range(30):
        a_delivery(agent.lane_id, "failed" if number % 2 else "delivered")
    with django_assert_max_num_queries(16):
        page(operator)


def test_the_rooms_stand_in_our_order(operator: Client) -> None:
    apps = operator.get("/admin/").context["app_list"]
    assert [app["app_label"] for app in apps][:5] == [
        "deliveries", "routes", "agents", "platforms", "auth",
    ]  # fmt: skip
    assert apps[-1]["app_label"] == "django_q"
