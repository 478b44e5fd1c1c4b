"""The delivery history."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from agents.models import Agent
from deliveries.models import Delivery
from platforms.models import Channel

from .rows import a_delivery, an_attempt, an_event

pytestmark = pytest.mark.django_db

LIST = "/admin/deliveries/delivery/"


def page(delivery: Delivery, act: str = "change") -> str:
    return f"{LIST}{delivery.pk}/{act}/"


def listed(client: Client, query: str) -> list[Any]:
    return [row.pk for row in client.get(f"{LIST}?{query}").context["cl"].result_list]


def test_the_list_says_state_event_destination_tries_and_latency(
    operator: Client, agent: Agent
) -> None:
    a_delivery(agent.lane_id, attempt_count=3, latency_ms=154)
    shown = operator.get(LIST).content.decode()
    assert '<span class="state state-ok">delivered</span>' in shown
    assert f'<a href="/admin/agents/agent/{agent.pk}/change/">DemoBot</a>' in shown
    assert "3 / 8" in shown
    assert "154 ms" in shown


def test_a_destination_that_was_deleted_keeps_its_name(operator: Client, channel: Channel) -> None:
    a_delivery(channel.lane_id)
    Channel.objects.filter(pk=channel.pk).delete()
    assert "team-chat" in operator.get(LIST).content.decode()


def test_the_list_asks_the_same_few_questions_however_long_it_is(
    operator: Client, agent: Agent, channel: Channel, django_assert_max_num_queries: Any
) -> None:
    for _ in range(40):
        a_delivery(agent.lane_id)
        a_delivery(channel.lane_id, "failed")
    with django_assert_max_num_queries(8):
        operator.get(LIST)


def test_the_list_counts_to_a_thousand_and_no_further(
    operator: Client, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deliveries.lists.BoundedPaginator.limit", 3)
    for _ in range(6):
        a_delivery(agent.lane_id)
    response = operator.get(LIST)
    assert response.context["cl"].result_count == 4
    assert "more than 3" in response.content.decode()


def test_the_filters_pick_by_status_time_destination_and_error(
    operator: Client, agent: Agent, channel: Channel
) -> None:
    lost = a_delivery(agent.lane_id, "failed", error_class="timeout", age=timedelta(minutes=30))
    dropped = a_delivery(agent.lane_id, "unreachable", age=timedelta(hours=30))
    fine = a_delivery(channel.lane_id, age=timedelta(days=8))
    assert listed(operator, "status=failed") == [lost.pk]
    assert listed(operator, "status=lost") == [lost.pk, dropped.pk]
    assert listed(operator, "since=1h") == [lost.pk]
    assert listed(operator, "since=2d") == [dropped.pk]
    assert listed(operator, "since=old") == [fine.pk]
    assert listed(operator, "to=channels") == [fine.pk]
    assert listed(operator, f"to={agent.lane_id}") == [lost.pk, dropped.pk]
    assert listed(operator, "error=timeout") == [lost.pk]


def test_a_search_takes_a_whole_delivery_event_or_trace_id(operator: Client, agent: Agent) -> None:
    first = an_event()
    answer = an_event("message", trace=first.trace)
    prompt, reply = (a_delivery(agent.lane_id, event=event) for event in (first, answer))
    a_delivery(agent.lane_id)
    assert listed(operator, f"q={prompt.pk}") == [prompt.pk]
    assert listed(operator, f"q={answer.pk}") == [reply.pk]
    assert set(listed(operator, f"q={first.trace}")) == {prompt.pk, reply.pk}
    assert listed(operator, f"q={uuid4()}") == []
    assert listed(operator, "q=anything%20else") == []


def test_an_empty_list_says_what_would_fill_it(operator: Client) -> None:
    assert "No delivery yet." in operator.get(LIST).content.decode()
    assert "Nothing matches." in operator.get(f"{LIST}?status=failed").content.decode()


@pytest.mark.parametrize("act", ["add", "change", "delete"])
def test_the_ledger_is_read_only(operator: Client, agent: Agent, act: str) -> None:
    delivery = a_delivery(agent.lane_id)
    address = f"{LIST}add/" if act == "add" else page(delivery, act)
    assert operator.post(address, {"status": "failed"}).status_code == 403
    delivery.refresh_from_db()
    assert delivery.status == "delivered"


def test_the_page_tells_every_attempt_newest_first(operator: Client, agent: Agent) -> None:
    delivery = a_delivery(agent.lane_id, attempt_count=2)
    an_attempt(delivery, 1, "retry", error_class="timeout", error="No answer within 10 s.")
    an_attempt(delivery, 2, "delivered", status=200, request="POST …", response='{"ok": true}')
    shown = operator.get(page(delivery)).content.decode()
    assert shown.index("#2") < shown.index("#1")
    assert "HTTP 200 · 154 ms" in shown
    assert "No answer within 10 s." in shown
    assert "<summary>Request and response</summary>" in shown


def test_the_page_shows_the_payload_and_escapes_it(operator: Client, agent: Agent) -> None:
    delivery = a_delivery(agent.lane_id)
    event_page = operator.get(f"/admin/deliveries/event/{delivery.event_id}/change/")
    assert "Review this" in operator.get(page(delivery)).content.decode()
    assert "Ünicode &amp; &lt;b&gt;tags&lt;/b&gt;" in event_page.content.decode()


def test_the_page_shows_the_whole_chain(operator: Client, agent: Agent, channel: Channel) -> None:
    event = an_event()
    prompt = a_delivery(agent.lane_id, event=event)
    answer = an_event("message", source="agent", route="", trace=event.trace)
    reply = a_delivery(channel.lane_id, "failed", event=answer)
    chain = operator.get(page(prompt)).context["chain"]
    assert [(step.event.pk, [row.pk for row in step.deliveries]) for step in chain] == [
        (event.pk, [prompt.pk]),
        (answer.pk, [reply.pk]),
    ]


def test_redeliver_explains_and_changes_nothing_until_it_is_posted(
    operator: Client, agent: Agent
) -> None:
    delivery = a_delivery(agent.lane_id, "failed", error_class="timeout")
    shown = operator.get(page(delivery, "redeliver")).content.decode()
    assert "under the same delivery id" in shown
    delivery.refresh_from_db()
    assert delivery.status == "failed"

    response = operator.post(page(delivery, "redeliver"), follow=True)
    assert "It is on its way to DemoBot again." in response.content.decode()
    delivery.refresh_from_db()
    assert (delivery.status, delivery.trigger) == ("pending", "manual")
    assert LogEntry.objects.get().object_id == str(delivery.pk)


def test_redeliver_stands_beside_the_failure(operator: Client, agent: Agent) -> None:
    delivery = a_delivery(agent.lane_id, "failed", error_class="client_error")
    shown = operator.get(page(delivery)).content.decode()
    assert shown.count(f'href="{page(delivery, "redeliver")}"') == 2


def test_redelivering_what_arrived_warns_of_acting_twice(operator: Client, agent: Agent) -> None:
    shown = operator.get(page(a_delivery(agent.lane_id), "redeliver")).content.decode()
    assert "It was delivered before." in shown


def test_on_a_held_lane_it_says_that_it_waits(operator: Client, unreachable: Agent) -> None:
    delivery = a_delivery(unreachable.lane_id, "failed")
    response = operator.post(page(delivery, "redeliver"), follow=True)
    assert "It waits until DemoBot takes deliveries again." in response.content.decode()


def test_without_the_permission_redeliver_is_hidden_and_refused(
    person_with: Callable[..., Client], agent: Agent
) -> None:
    delivery = a_delivery(agent.lane_id, "failed")
    reader = person_with("deliveries.view_delivery")
    shown = reader.get(page(delivery)).content.decode()
    assert "redeliver/" not in shown
    assert reader.get(page(delivery, "redeliver")).status_code == 403
    assert reader.post(page(delivery, "redeliver")).status_code == 403
    many = {"action": "redeliver_selected", "_selected_action": str(delivery.pk)}
    reader.post(LIST, many | {"confirmed": "yes"})
    delivery.refresh_from_db()
    assert delivery.status == "failed"


def test_many_are_redelivered_after_a_page_that_explains(operator: Client, agent: Agent) -> None:
    rows = [a_delivery(agent.lane_id, "failed") for _ in range(3)]
    wanted = {
        "action": "redeliver_selected",
        "_selected_action": [str(row.pk) for row in rows[:2]],
    }
    explained = operator.post(LIST, wanted).content.decode()
    assert "<strong>2</strong> deliveries are sent again" in explained
    assert Delivery.objects.filter(status="failed").count() == 3

    response = operator.post(LIST, wanted | {"confirmed": "yes"}, follow=True)
    assert "2 deliveries are on their way again." in response.content.decode()
    assert Delivery.objects.get(status="failed") == rows[2]
    assert LogEntry.objects.count() == 2


def test_an_unknown_delivery_is_answered_kindly(operator: Client) -> None:
    assert operator.get(f"{LIST}{uuid4()}/redeliver/").status_code == 404
    assert operator.get(f"{LIST}nonsense/redeliver/").status_code == 404
