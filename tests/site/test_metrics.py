"""``/metrics``."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from agents.models import Agent
from deliveries.models import Delivery, Runner
from hermes_site import counting, metrics
from hermes_site.models import Counted, Incident
from platforms.models import Channel
from tests.admin.rows import a_delivery, a_refusal, an_attempt

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.site.urls")]


def samples() -> dict[str, dict[tuple[str, ...], float]]:
    """Return what Prometheus reads, by name and label values."""
    metrics._kept = (-metrics.KEEP_SECONDS, b"")
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(metrics.text().decode()):
        for sample in family.samples:
            labels = tuple(value for _name, value in sorted(sample.labels.items()))
            found.setdefault(sample.name, {})[labels] = sample.value
    return found


def test_this_machine_reads_them_without_a_token(client: Client) -> None:
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer["Content-Type"].startswith("text/plain; version=")
    assert b"hermes_worker_up" in answer.content


@pytest.mark.parametrize("address", ["203.0.113.7", "10.0.0.1", "", "::ffff:10.0.0.1"])
def test_another_machine_is_turned_away_where_no_token_is_set(client: Client, address: str) -> None:
    answer = client.get("/metrics", REMOTE_ADDR=address)
    assert answer.status_code == 403
    assert b"METRICS_TOKEN" in answer.content


@pytest.mark.parametrize(
    "header", ["Forwarded", "Via", "X-Real-IP", "X-Forwarded-For", "X-Forwarded-Proto"]
)
def test_whoever_comes_through_a_proxy_is_not_this_machine(client: Client, header: str) -> None:
    assert client.get("/metrics", headers={header: "x"}).status_code == 403


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        ("Bearer the-token", 200),
        ("Bearer the-toke", 401),
        ("Bearer ", 401),
        ("the-token", 401),
        ("Bearer thé-token", 401),
        (None, 401),
    ],
)
def test_with_a_token_set_nothing_else_counts(
    client: Client, settings: Any, authorization: str | None, status: int
) -> None:
    settings.METRICS_TOKEN = "the-token"
    headers = {} if authorization is None else {"Authorization": authorization}
    answer = client.get("/metrics", headers=headers, REMOTE_ADDR="203.0.113.7")
    assert answer.status_code == status
    here = client.get("/metrics", headers=headers)
    assert here.status_code == status


def test_it_is_only_read(client: Client) -> None:
    assert client.post("/metrics").status_code == 405


def test_what_waits_is_told_by_kind_and_state_of_its_lane(agent: Agent, channel: Channel) -> None:
    for _ in range(3):
        a_delivery(agent.lane_id, "pending")
    a_delivery(channel.lane_id, "pending")
    a_delivery(channel.lane_id, "delivered")
    agent.lane.state = "held"
    agent.lane.save()
    assert samples()["hermes_deliveries_pending"] == {("agent", "held"): 3, ("channel", "open"): 1}


def test_a_large_backlog_is_counted_up_to_a_bound_on_each_lane(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "COUNTED", 2)
    monkeypatch.setattr(metrics, "COUNTED_OF_A_LANE", 3)
    for _ in range(5):
        a_delivery(agent.lane_id, "pending")
    assert samples()["hermes_deliveries_pending"] == {("agent", "open"): 3}


def test_the_age_of_the_oldest_due_row_is_told(agent: Agent) -> None:
    assert samples()["hermes_oldest_due_seconds"] == {(): 0}
    delivery = a_delivery(agent.lane_id, "pending")
    due = timezone.now() - timedelta(seconds=90)
    Delivery.objects.filter(pk=delivery.pk).update(next_attempt_at=due)
    assert samples()["hermes_oldest_due_seconds"][()] == pytest.approx(90, abs=5)


def test_what_is_due_later_is_not_due(agent: Agent) -> None:
    delivery = a_delivery(agent.lane_id, "pending")
    later = timezone.now() + timedelta(hours=1)
    Delivery.objects.filter(pk=delivery.pk).update(next_attempt_at=later)
    assert samples()["hermes_oldest_due_seconds"] == {(): 0}


def test_the_worker_is_up_while_its_heart_beats(runner: Runner) -> None:
    assert samples()["hermes_worker_up"] == {(): 1}
    Runner.objects.update(beat_at=timezone.now() - timedelta(seconds=40))
    found = samples()
    assert found["hermes_worker_up"] == {(): 0}
    assert found["hermes_worker_heartbeat_seconds"][()] == pytest.approx(40, abs=5)


def test_without_a_worker_there_is_no_heartbeat_to_tell() -> None:
    found = samples()
    assert found["hermes_worker_up"] == {(): 0}
    assert "hermes_worker_heartbeat_seconds" not in found


def test_agents_are_told_by_status_and_none_is_left_out(unreachable: Agent) -> None:
    assert samples()["hermes_agents"] == {
        ("ready",): 0,
        ("offline",): 1,  # the default agent
        ("unreachable",): 1,
    }


def test_channels_that_need_attention_are_counted_while_they_are_on(channel: Channel) -> None:
    Channel.objects.filter(pk=channel.pk).update(health="needs_attention")
    assert samples()["hermes_channels_needing_attention"] == {(): 1}
    Channel.objects.filter(pk=channel.pk).update(enabled=False)
    assert samples()["hermes_channels_needing_attention"] == {(): 0}


def test_open_incidents_are_told_by_kind() -> None:
    now = timezone.now()
    Incident.objects.create(kind="route", subject="a", opened_at=now, seen_at=now)
    Incident.objects.create(kind="route", subject="b", opened_at=now, seen_at=now, closed_at=now)
    assert samples()["hermes_incidents_open"][("route",)] == 1


def test_attempts_are_counters_and_histograms(agent: Agent) -> None:
    Counted.objects.create(events_until=timezone.now())
    old = timezone.now() - timedelta(minutes=1)
    for error_class in ("", "interrupted"):
        delivery = a_delivery(agent.lane_id, age=timedelta(minutes=1))
        attempt = an_attempt(delivery, 1, "retry", error_class=error_class)
        attempt.started_at = old
        attempt.save()
    found = samples()
    assert found["hermes_attempts_total"] == {("", "agent", "retry"): 1,
                                              ("interrupted", "agent", "retry"): 1}  # fmt: skip
    assert found["hermes_lease_steals_total"] == {("agent",): 1, ("channel",): 0}
    took = found["hermes_attempt_duration_seconds_bucket"]
    assert took[("agent", "0.1")] == 0
    assert took[("agent", "0.25")] == 2
    assert took[("agent", "+Inf")] == 2
    assert found["hermes_attempt_duration_seconds_sum"][("agent",)] == pytest.approx(0.308)
    assert found["hermes_first_attempt_wait_seconds_count"][("agent",)] == 2


def test_refusals_are_told_by_reason_and_429_beside_them() -> None:
    Counted.objects.create(events_until=timezone.now())
    old = timezone.now() - timedelta(minutes=1)
    a_refusal(at=old)
    a_refusal(at=old, status=429, reason="rate_limited")
    found = samples()
    assert found["hermes_refusals_total"] == {
        ("invalid_signature", "401"): 1,
        ("rate_limited", "429"): 1,
    }
    assert found["hermes_rate_limited_total"] == {(): 1}


def test_an_answer_is_kept_for_some_seconds(agent: Agent, django_assert_num_queries: Any) -> None:
    first = metrics.text()
    a_delivery(agent.lane_id, "pending")
    with django_assert_num_queries(0):
        assert metrics.text() == first


def test_one_answer_asks_a_bounded_number_of_questions(
    agent: Agent, django_assert_max_num_queries: Any
) -> None:
    Counted.objects.create(events_until=timezone.now())
    for _ in range(30):
        an_attempt(a_delivery(agent.lane_id, "pending"), 1, "retry")
    with django_assert_max_num_queries(22):
        metrics.text()


def test_a_label_may_hold_anything(agent: Agent) -> None:
    Counted.objects.create(events_until=timezone.now())
    odd = 'a"b\\c, d\n'
    a_refusal(at=timezone.now() - timedelta(minutes=1), reason=odd)
    assert samples()["hermes_refusals_total"] == {(odd, "401"): 1}
    assert counting.tallies()[counting.REFUSALS] == {("401", odd): 1}
