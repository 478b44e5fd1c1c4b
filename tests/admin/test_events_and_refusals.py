"""What came in, and what was turned away."""

from typing import Any

import pytest
from django.test import Client

from deliveries.models import Payload

from .rows import a_refusal, an_event

pytestmark = pytest.mark.django_db


def test_events_are_listed_by_route(operator: Client) -> None:
    mine = an_event()
    an_event(route="other")
    response = operator.get("/admin/deliveries/event/?route=github-pr")
    assert [row.pk for row in response.context["cl"].result_list] == [mine.pk]


def test_an_event_shows_its_headers_and_its_ids(operator: Client) -> None:
    event = an_event(dedupe_key="72d3162e", headers={"X-GitHub-Event": "pull_request"})
    shown = operator.get(f"/admin/deliveries/event/{event.pk}/change/").content.decode()
    assert "72d3162e" in shown
    assert "X-GitHub-Event" in shown
    assert str(event.trace) in shown


def test_a_body_that_retention_removed_is_said_to_be_gone(operator: Client) -> None:
    event = an_event()
    Payload.objects.filter(pk=event.pk).delete()
    shown = operator.get(f"/admin/deliveries/event/{event.pk}/change/").content.decode()
    assert "It was removed with the retention" in shown


def test_a_refusal_says_why_first(operator: Client) -> None:
    refusal = a_refusal()
    shown = operator.get(f"/admin/routes/refusal/{refusal.pk}/change/").content.decode()
    assert "It was made with another secret." in shown
    assert "Keep it logically awesome." in shown
    assert "203.0.113.7" in shown


def test_a_refusal_with_bytes_that_are_no_text_is_shown(operator: Client) -> None:
    refusal = a_refusal(body=b"\xff\x00\xfe")
    assert operator.get(f"/admin/routes/refusal/{refusal.pk}/change/").status_code == 200


@pytest.mark.parametrize("address", ["/admin/deliveries/event/", "/admin/routes/refusal/"])
def test_they_are_read_only(operator: Client, address: str) -> None:
    rows = {"/admin/deliveries/event/": an_event, "/admin/routes/refusal/": a_refusal}
    row: Any = rows[address]()
    assert operator.get(f"{address}add/").status_code == 403
    assert operator.post(f"{address}{row.pk}/change/", {}).status_code == 403
    assert operator.post(f"{address}{row.pk}/delete/", {"post": "yes"}).status_code == 403


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("/admin/deliveries/event/", "No event yet."),
        ("/admin/routes/refusal/", "No refusal."),
        ("/admin/agents/artifact/", "No form yet."),
        ("/admin/routes/route/", "No route yet."),
    ],
)
def test_an_empty_list_says_what_would_fill_it(operator: Client, address: str, said: str) -> None:
    assert said in operator.get(address).content.decode()


@pytest.mark.parametrize("address", ["/admin/deliveries/event/", "/admin/routes/refusal/"])
def test_their_lists_ask_the_same_few_questions_however_long_they_are(
    operator: Client, address: str, django_assert_max_num_queries: Any
) -> None:
    for _ in range(40):
        an_event()
        a_refusal()
    with django_assert_max_num_queries(8):
        operator.get(address)
