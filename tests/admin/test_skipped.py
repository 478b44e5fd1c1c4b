"""What was skipped, shown calmly and led on from."""

from datetime import timedelta

import pytest
from django.test import Client

from agents.models import Agent
from deliveries.models import Delivery
from hermes_site import dashboard

from .rows import a_delivery

pytestmark = pytest.mark.django_db

LIST = "/admin/deliveries/delivery/"
GREY = '<span class="state state-idle">skipped</span>'


def page(client: Client, delivery: Delivery, act: str = "change") -> str:
    return client.get(f"{LIST}{delivery.pk}/{act}/").content.decode()


@pytest.fixture
def newer(agent: Agent) -> Delivery:
    return a_delivery(agent.lane_id, metadata={"superseded": 2})


@pytest.fixture
def skipped(agent: Agent, newer: Delivery) -> Delivery:
    """A delivery that made room for a newer one."""
    told = {"error_class": "superseded", "metadata": {"replaced_by": str(newer.pk)}}
    return a_delivery(agent.lane_id, "skipped", **told)


def test_the_list_has_a_calm_grey_mark(operator: Client, skipped: Delivery) -> None:
    assert GREY in operator.get(LIST).content.decode()


def test_the_list_can_be_filtered_by_it(
    operator: Client, skipped: Delivery, newer: Delivery
) -> None:
    def listed(status: str) -> list[Delivery]:
        return list(operator.get(f"{LIST}?status={status}").context["cl"].result_list)

    assert listed("skipped") == [skipped]
    assert listed("lost") == []


def test_its_page_says_why_and_leads_to_what_replaced_it(
    operator: Client, skipped: Delivery, newer: Delivery
) -> None:
    shown = page(operator, skipped)
    assert GREY in shown
    assert "A newer event of the same key came before it was sent" in shown
    assert f'<a href="{LIST}{newer.pk}/change/">Replaced by this delivery</a>' in shown
    assert "Not tried yet" not in shown
    assert "notice-bad" not in shown


def test_its_page_says_so_when_what_replaced_it_is_gone(
    operator: Client, skipped: Delivery, newer: Delivery
) -> None:
    newer.delete()
    shown = page(operator, skipped)
    assert "took its place" in shown
    assert "Replaced by this delivery" not in shown


def test_any_other_reason_is_named(operator: Client, agent: Agent) -> None:
    delivery = a_delivery(agent.lane_id, "skipped", error_class="websocket_only")
    assert "It was not to be sent: websocket_only." in page(operator, delivery)


def test_the_page_of_the_latest_counts_what_it_replaces(operator: Client, newer: Delivery) -> None:
    assert "2 earlier events of its key" in page(operator, newer)


def test_a_redelivered_one_is_not_said_to_be_replaced(operator: Client, skipped: Delivery) -> None:
    assert "It was skipped and never sent." in page(operator, skipped, "redeliver")
    operator.post(f"{LIST}{skipped.pk}/redeliver/")
    skipped.refresh_from_db()
    assert skipped.status == "pending"
    assert "took its place" not in page(operator, skipped)


def test_the_dashboard_counts_it_as_no_failure(
    operator: Client, agent: Agent, skipped: Delivery
) -> None:
    a_delivery(agent.lane_id, "failed", age=timedelta(hours=1))
    traffic = dashboard.traffic()
    assert (traffic.total, traffic.share, traffic.failed) == (3, "50.0", 1)
    assert [row.status for row in traffic.failures] == ["failed"]


def test_the_chart_has_a_part_of_its_own_for_it(operator: Client, skipped: Delivery) -> None:
    shown = operator.get("/admin/").content.decode()
    assert '<rect class="bar-skipped"' in shown
    assert "1 skipped" in shown
    assert '<li class="state state-idle">skipped</li>' in shown


def test_without_any_the_chart_does_not_speak_of_it(operator: Client, newer: Delivery) -> None:
    assert "skipped" not in operator.get("/admin/").content.decode()
