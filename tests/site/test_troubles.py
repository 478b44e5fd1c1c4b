"""What is found to be wrong."""

from datetime import timedelta

import pytest
from django.utils import timezone

from agents.models import Agent
from deliveries.models import Delivery, Runner
from hermes_site import troubles
from hermes_site.models import AlertSettings, Trouble
from hermes_site.troubles import Found
from platforms.models import Channel
from routes.models import Route
from tests.admin.rows import a_delivery, a_refusal, an_event

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("runner")]

MINUTE = timedelta(minutes=1)


def found(kind: str, limits: AlertSettings | None = None) -> list[Found]:
    every = troubles.find(limits or AlertSettings(), timezone.now())
    return [one for one in every if one.kind == kind]


def test_where_all_is_well_nothing_is_found(agent: Agent, channel: Channel, route: Route) -> None:
    a_delivery(agent.lane_id, "pending")
    a_delivery(agent.lane_id, "failed")
    a_refusal()
    assert troubles.find(AlertSettings(), timezone.now()) == []


def test_an_unreachable_agent_is_found_with_what_waits_for_it(unreachable: Agent) -> None:
    a_delivery(unreachable.lane_id, "pending")
    a_delivery(unreachable.lane_id, "pending")
    [one] = found(Trouble.AGENT)
    assert (one.subject, one.label) == (str(unreachable.pk), "DemoBot")
    assert "2 deliveries wait" in one.detail


def test_an_agent_that_a_person_suspended_is_no_trouble(unreachable: Agent) -> None:
    Agent.objects.filter(pk=unreachable.pk).update(suspended_at=timezone.now())
    assert found(Trouble.AGENT) == []


def test_a_channel_that_needs_attention_is_found_while_it_is_on(channel: Channel) -> None:
    row = Channel.objects.filter(pk=channel.pk)
    row.update(health="needs_attention", health_reason="401: Unauthorized.")
    assert found(Trouble.CHANNEL) == [
        Found(Trouble.CHANNEL, str(channel.pk), "team-chat", "401: Unauthorized.")
    ]
    row.update(enabled=False)
    assert found(Trouble.CHANNEL) == []


@pytest.mark.parametrize(("silent", "is_found"), [(5, False), (59, False), (90, True)])
def test_a_runner_is_missed_after_a_minute(silent: int, is_found: bool) -> None:
    Runner.objects.update(beat_at=timezone.now() - timedelta(seconds=silent))
    assert bool(found(Trouble.WORKER)) is is_found


def test_without_a_runner_there_is_no_worker() -> None:
    Runner.objects.all().delete()
    assert found(Trouble.WORKER)


@pytest.mark.parametrize(("waited", "is_found"), [(22.9, False), (23.1, True)])
def test_a_delivery_is_about_to_expire_in_its_last_hour(
    agent: Agent, waited: float, is_found: bool
) -> None:
    a_delivery(agent.lane_id, "pending", age=timedelta(hours=waited))
    assert bool(found(Trouble.EXPIRING)) is is_found


def test_those_about_to_expire_are_told_by_destination_with_the_first_end(agent: Agent) -> None:
    for hours in (23.5, 23.2, 1):
        a_delivery(agent.lane_id, "pending", age=timedelta(hours=hours))
    [one] = found(Trouble.EXPIRING)
    ends = troubles.clock(timezone.now() + timedelta(minutes=30))
    assert (one.subject, one.label) == (str(agent.lane_id), "DemoBot")
    assert one.detail == f"2 deliveries will be dropped, the first at {ends}."


def test_a_redelivery_has_its_hours_again(agent: Agent) -> None:
    a_delivery(
        agent.lane_id, "pending", age=timedelta(hours=23.5), redelivered_at=timezone.now() - MINUTE
    )
    assert found(Trouble.EXPIRING) == []


def test_how_long_before_the_end_can_be_set(agent: Agent) -> None:
    a_delivery(agent.lane_id, "pending", age=timedelta(hours=20))
    assert found(Trouble.EXPIRING, AlertSettings(expires_within=300))


@pytest.mark.parametrize(("refused", "is_found"), [(9, False), (10, True)])
def test_refusals_count_against_a_route_from_a_number_on(
    route: Route, refused: int, is_found: bool
) -> None:
    for _ in range(refused):
        a_refusal(at=timezone.now() - MINUTE)
    assert bool(found(Trouble.ROUTE)) is is_found


def test_failed_deliveries_count_with_the_refusals(agent: Agent, route: Route) -> None:
    for _ in range(6):
        a_refusal(at=timezone.now() - MINUTE)
        a_delivery(agent.lane_id, "failed", age=MINUTE)
    [one] = found(Trouble.ROUTE)
    assert one.detail == (
        "Of 12 in 15 minutes, 6 were refused (invalid_signature); 6 deliveries failed."
    )


def test_many_errors_among_many_more_that_went_well_are_no_trouble(
    agent: Agent, route: Route
) -> None:
    for number in range(60):
        a_delivery(agent.lane_id, "failed" if number < 11 else "delivered", age=MINUTE)
    assert found(Trouble.ROUTE) == []
    assert found(Trouble.ROUTE, AlertSettings(route_share=15))


def test_what_is_older_than_a_quarter_of_an_hour_does_not_count(agent: Agent, route: Route) -> None:
    old = timedelta(minutes=16)
    for _ in range(12):
        a_refusal(at=timezone.now() - old)
        a_delivery(agent.lane_id, "failed", age=old)
    assert found(Trouble.ROUTE) == []


def test_a_delivery_that_was_given_up_now_counts_now(agent: Agent, route: Route) -> None:
    for _ in range(10):
        delivery = a_delivery(agent.lane_id, "failed", age=timedelta(hours=3))
        Delivery.objects.filter(pk=delivery.pk).update(completed_at=timezone.now())
    assert found(Trouble.ROUTE)


def test_an_answer_that_failed_counts_for_the_route_of_what_it_answers(
    channel: Channel, route: Route
) -> None:
    for _ in range(10):
        asked = an_event(age=MINUTE)
        answer = an_event(source="agent", route="", trace=asked.pk)
        a_delivery(channel.lane_id, "failed", age=MINUTE, event=answer)
    [one] = found(Trouble.ROUTE)
    assert one.label == "github-pr"


def test_names_that_no_route_has_are_nobodys_trouble(route: Route) -> None:
    for number in range(20):
        a_refusal(route=f"guess-{number % 2}", reason="unknown_route")
        a_refusal(route="gone")
    assert found(Trouble.ROUTE) == []


def test_the_gateways_own_notices_count_for_no_route(channel: Channel) -> None:
    for _ in range(20):
        notice = an_event(source="system", route="")
        a_delivery(channel.lane_id, "failed", event=notice)
    assert found(Trouble.ROUTE) == []
