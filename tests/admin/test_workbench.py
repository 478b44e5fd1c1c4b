"""The workbench's page: an event is chosen, a draft is tried, and only *Save* keeps anything."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.apps import apps
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from deliveries.models import Event, Payload
from routes.models import Route
from routes.workbench_page import LINTED

from .rows import an_event

pytestmark = pytest.mark.django_db


def page(route: Route) -> str:
    return f"/admin/routes/route/{route.pk}/workbench/"


def draft(event: str = "pasted", **changes: Any) -> dict[str, Any]:
    return {
        "event": event,
        "headers": "X-GitHub-Event: pull_request",
        "body": '{"action": "opened", "number": 7, "repository": {"full_name": "acme/site"}}',
        "prompt": "PR #{number}",
        "filters": "",
        "conversation_key": "",
    } | changes


def a_stored_event(route: Route, body: object, type_: str = "pull_request") -> Event:
    event = an_event(type_, route=route.name)
    Payload.objects.filter(pk=event.pk).update(body=json.dumps(body).encode())
    return event


def test_it_opens_with_what_is_saved_tried_on_the_newest_event(
    operator: Client, route: Route
) -> None:
    Route.objects.filter(pk=route.pk).update(prompt="Look at {number}", fence=False)
    a_stored_event(route, {"number": 1})
    a_stored_event(route, {"number": 2})
    a_stored_event(Route(name="other"), {"number": 3})
    response = operator.get(page(route))
    assert response.context["trial"].prompt == "Look at 2"
    assert "It would go out." in response.content.decode()


def test_without_an_event_it_tries_a_sample_of_the_source(operator: Client, route: Route) -> None:
    response = operator.get(page(route))
    assert response.context["form"]["event"].value().startswith("sample:")
    assert response.context["trial"].prompt


def test_a_stored_event_is_tried_under_its_own_name(operator: Client, route: Route) -> None:
    event = a_stored_event(route, {"number": 1}, "release")
    response = operator.post(page(route), draft(str(event.pk)))
    stop = response.context["trial"].stopped_by
    assert "not one of pull_request" in stop.says


def test_an_event_of_another_route_can_not_be_asked_for(operator: Client, route: Route) -> None:
    event = a_stored_event(Route(name="other"), {"secret": "of another"})
    response = operator.post(page(route), draft(str(event.pk)))
    assert "event" in response.context["form"].errors
    assert "of another" not in response.content.decode()


def test_an_event_whose_body_is_gone_is_said_to_be(operator: Client, route: Route) -> None:
    event = a_stored_event(route, {})
    Payload.objects.filter(pk=event.pk).delete()
    response = operator.post(page(route), draft(str(event.pk)))
    assert "removed with the retention" in response.content.decode()


def test_a_draft_is_tried_and_shown_against_what_is_saved(operator: Client, route: Route) -> None:
    Route.objects.filter(pk=route.pk).update(prompt="Number {number}")
    filters = '[{"field": "action", "equals": "closed"}]'
    response = operator.post(page(route), draft(filters=filters))
    shown = response.content.decode()
    assert response.context["trial"].prompt == "PR #7"
    assert "<del>Number {number}</del>" in shown
    assert "<ins>PR #{number}</ins>" in shown
    assert "<del>Number 7</del>" in shown
    assert "It goes no further." in shown
    assert "As saved, it would go out." in shown


def test_what_a_payload_says_is_not_read_as_html(operator: Client, route: Route) -> None:
    body = '{"title": "<script>alert(1)</script>", "<b>": 1}'
    response = operator.post(page(route), draft(body=body, prompt="{title} {__raw__}"))
    assert "<script>alert(1)" not in response.content.decode()
    assert "&lt;script&gt;alert(1)" in response.content.decode()


@pytest.mark.parametrize(
    ("changes", "field", "said"),
    [
        ({"filters": "[{]"}, "filters", "Not JSON: line 1, column 3"),
        ({"filters": '[{"any": [{"field": "a", "regex": "("}]}]'}, "filters",
         "filters[0].any[0].regex"),
        ({"filters": '[{"field": "a", "equals": NaN}]'}, "filters", "Not JSON"),
        ({"headers": "no colon"}, "headers", "is no header"),
        ({"body": " "}, "body", "Paste the body"),
        ({"event": "0b0e"}, "event", ""),
        ({"conversation_key": "x" * 256}, "conversation_key", ""),
    ],
)  # fmt: skip
def test_a_wrong_draft_is_explained_at_its_field(
    operator: Client, route: Route, changes: dict[str, str], field: str, said: str
) -> None:
    response = operator.post(page(route), draft(**changes))
    assert response.status_code == 200
    assert said in str(response.context["form"].errors[field])
    assert "nothing was tried" in response.content.decode()


@pytest.mark.parametrize("body", ["not json", "[]", '"x"', "{", "null", "\ud800", "[" * 3000])
def test_any_pasted_body_gets_an_answer(operator: Client, route: Route, body: str) -> None:
    sent = draft(body=body.encode("utf-8", "replace").decode(), prompt="{a.b} {__raw__}")
    assert operator.post(page(route), sent).status_code == 200


def counted() -> dict[str, int]:
    """Return how many rows every table has."""
    return {model._meta.label: model._base_manager.count() for model in apps.get_models()}


def test_trying_stores_and_sends_nothing(operator: Client, route: Route) -> None:
    a_stored_event(route, {"number": 1})
    before, saved = counted(), Route.objects.values().get(pk=route.pk)
    with CaptureQueriesContext(connection) as asked:
        operator.get(page(route))
        operator.post(page(route), draft())
        operator.post(page(route), draft("sample:push", prompt="{other}"))
        operator.post(page(route), draft(filters="nonsense"))
    writes = [
        query["sql"]
        for query in asked
        if query["sql"].split(" ", 1)[0] in ("INSERT", "UPDATE", "DELETE", "REPLACE")
    ]
    assert writes == []
    assert counted() == before
    assert Route.objects.values().get(pk=route.pk) == saved


def test_saving_keeps_the_draft_and_is_remembered(operator: Client, route: Route) -> None:
    sent = draft(
        prompt="One\r\ntwo", filters='[{"field": "action", "exists": true}]', fence="",
        conversation_key="{number}", save="1",
    )  # fmt: skip
    response = operator.post(page(route), sent, follow=True)
    assert "The draft is saved." in response.content.decode()
    route.refresh_from_db()
    assert route.prompt == "One\ntwo"
    assert route.filters == [{"field": "action", "exists": True}]
    assert (route.fence, route.conversation_key) == (False, "{number}")
    assert route.events == ["pull_request"]
    assert LogEntry.objects.get().change_message == "Saved a draft of the workbench."


def test_a_draft_with_broken_filters_is_not_saved(operator: Client, route: Route) -> None:
    operator.post(page(route), draft(filters='[{"field": "a"}]', save="1"))
    route.refresh_from_db()
    assert route.prompt == ""
    assert not LogEntry.objects.exists()


def test_a_file_route_can_be_tried_and_not_saved(operator: Client, route: Route) -> None:
    Route.objects.filter(pk=route.pk).update(origin=Route.Origin.FILE)
    shown = operator.post(page(route), draft()).content.decode()
    assert "This route is set in config.yaml" in shown
    assert 'name="save"' not in shown
    assert operator.post(page(route), draft(save="1")).status_code == 403


def test_who_may_only_look_can_try_and_not_save(
    person_with: Callable[..., Client], route: Route
) -> None:
    reader = person_with("routes.view_route")
    assert 'name="save"' not in reader.post(page(route), draft()).content.decode()
    assert reader.post(page(route), draft(save="1")).status_code == 403
    route.refresh_from_db()
    assert route.prompt == ""


def test_who_may_not_see_events_is_offered_none(
    person_with: Callable[..., Client], route: Route
) -> None:
    event = a_stored_event(route, {"title": "for other eyes"})
    reader = person_with("routes.view_route")
    shown = reader.get(page(route)).content.decode()
    assert str(event.pk) not in shown
    assert "for other eyes" not in shown


def test_who_may_not_see_routes_is_refused(
    person_with: Callable[..., Client], route: Route
) -> None:
    assert person_with("deliveries.view_event").get(page(route)).status_code == 403


def test_what_real_events_lacked_is_counted(operator: Client, route: Route) -> None:
    for body in ({"number": 1}, {"number": 2, "milestone": "v1"}, {"number": 3}):
        a_stored_event(route, body)
    prompt = "{number} {milestone} {milestnoe} { number }"
    shown = operator.post(page(route), draft(prompt=prompt)).content.decode()
    assert "missing in 2 of the newest 3" in shown
    assert "missing in 3 of the newest 3" in shown
    assert "{number}</span>" in shown


def test_only_the_newest_events_are_looked_at(
    operator: Client, route: Route, django_assert_max_num_queries: Any
) -> None:
    a_stored_event(route, {})
    for number in range(LINTED):
        a_stored_event(route, {"number": number})
    with django_assert_max_num_queries(16):
        shown = operator.post(page(route), draft()).content.decode()
    assert f"The newest {LINTED} events had every field" in shown
