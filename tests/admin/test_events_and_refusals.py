"""What came in, and what was turned away."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.test import Client

from deliveries.models import Payload
from routes.models import Route
from routes.remedies import REMEDIES

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


@pytest.mark.parametrize("reason", [*REMEDIES, "something_new"])
def test_every_reason_says_what_to_do(operator: Client, reason: str) -> None:
    refusal = a_refusal(reason=reason)
    shown = operator.get(f"/admin/routes/refusal/{refusal.pk}/change/").content.decode()
    assert "What to do" in shown
    assert '<ol class="steps"><li>' in shown


def test_every_reason_of_a_refusal_has_its_remedy() -> None:
    files = sorted((Path(settings.BASE_DIR) / "routes").rglob("*.py"))
    source = "".join(file.read_text() for file in files)
    given = set(re.findall(r'(?:Refused\(|_refuse\(request, \w+, \d{3},)\s*"([a-z_]+)"', source))
    assert {"bad_signature", "unknown_route", "rate_limited"} <= given
    assert given <= REMEDIES.keys()


def test_a_bad_signature_leads_to_a_new_secret_and_to_a_test(
    operator: Client, route: Route
) -> None:
    refusal = a_refusal(reason="bad_signature", route=route.name)
    shown = operator.get(f"/admin/routes/refusal/{refusal.pk}/change/").content.decode()
    assert f"/admin/routes/route/{route.pk}/secret/" in shown
    assert f"/admin/routes/route/{route.pk}/test/" in shown


def test_a_reader_is_not_led_to_what_is_not_allowed(
    person_with: Callable[..., Client], route: Route
) -> None:
    refusal = a_refusal(reason="bad_signature", route=route.name)
    reader = person_with("routes.view_refusal", "routes.view_route")
    shown = reader.get(f"/admin/routes/refusal/{refusal.pk}/change/").content.decode()
    assert "/secret/" not in shown
    assert "/test/" not in shown


def test_an_unknown_name_is_said_to_be_no_route(operator: Client) -> None:
    refusal = a_refusal(reason="unknown_route", route="wp-login")
    shown = operator.get(f"/admin/routes/refusal/{refusal.pk}/change/").content.decode()
    assert "no route has this name" in shown


def test_refusals_are_filtered_by_route_reason_and_status(operator: Client) -> None:
    mine = a_refusal(reason="bad_signature")
    a_refusal(route="other", reason="too_large", status=413)
    invented = [a_refusal(route=f"x{n}", reason="unknown_route", status=404) for n in range(3)]

    def listed(query: str) -> set[int]:
        response = operator.get(f"/admin/routes/refusal/?{query}")
        return {row.pk for row in response.context["cl"].result_list}

    assert listed("route=github-pr") == {mine.pk}
    assert listed("reason=bad_signature") == {mine.pk}
    assert listed("status=401") == {mine.pk}
    assert listed("route=?") == {row.pk for row in invented}


def test_names_that_strangers_invent_are_one_line_of_the_filter(operator: Client) -> None:
    a_refusal()
    for number in range(30):
        a_refusal(route=f"invented-{number}", reason="unknown_route", status=404)
    shown = operator.get("/admin/routes/refusal/?status=401").content.decode()
    assert "Names that no route has" in shown
    assert "invented-7" not in shown


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
    with django_assert_max_num_queries(11):
        operator.get(address)
