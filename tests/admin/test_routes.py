"""Routes: their form, their address, their secrets."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.utils import timezone

from agents.models import Agent
from platforms.models import Channel
from routes.models import Route

from .rows import a_delivery, a_refusal, an_event

pytestmark = pytest.mark.django_db

LIST = "/admin/routes/route/"


def page(route: Route, act: str = "change") -> str:
    return f"{LIST}{route.pk}/{act}/"


def filled(**changes: Any) -> dict[str, Any]:
    return {
        "name": "alerts",
        "enabled": "on",
        "preset": "auto",
        "events": "push, issues.opened\nrelease",
        "prompt": "{__raw__}",
        "skills": "",
        "deliver": "log",
        "deliver_extra": "{}",
    } | changes


def errors(client: Client, **changes: Any) -> Any:
    response = client.post(f"{LIST}add/", filled(**changes))
    assert response.status_code == 200
    return response.context["adminform"].form.errors


def test_a_route_is_added_with_its_lists_as_lines(operator: Client) -> None:
    operator.post(f"{LIST}add/", filled(skills="code-review"))
    route = Route.objects.get()
    assert route.events == ["push", "issues.opened", "release"]
    assert route.skills == ["code-review"]
    assert route.origin == Route.Origin.ADMIN


def test_the_form_keeps_what_it_does_not_change(operator: Client, route: Route) -> None:
    Route.objects.filter(pk=route.pk).update(
        deliver="gone-channel", deliver_extra={"repo": "{repository.full_name}"}
    )
    shown = operator.get(page(route)).context["adminform"].form
    sent = {name: shown[name].value() for name in shown.fields if shown[name].value() is not None}
    sent = {name: value for name, value in sent.items() if value is not False}
    operator.post(page(route), sent)
    route.refresh_from_db()
    assert route.deliver == "gone-channel"
    assert route.deliver_extra == {"repo": "{repository.full_name}"}
    assert route.events == ["pull_request"]


def test_channels_and_platforms_with_one_channel_are_offered(
    operator: Client, channel: Channel
) -> None:
    form = operator.get(f"{LIST}add/").context["adminform"].form
    offered = dict(form.fields["deliver"].choices)
    assert ("team-chat", "team-chat (Telegram)") in offered["Channels"]
    assert "telegram" in dict(offered["The one channel of a platform"])
    Channel.objects.create(name="second-chat", kind="telegram")
    form = operator.get(f"{LIST}add/").context["adminform"].form
    assert "telegram" not in dict(
        dict(form.fields["deliver"].choices)["The one channel of a platform"]
    )


def test_a_target_must_be_an_object(operator: Client) -> None:
    assert "Give a JSON object" in str(errors(operator, deliver_extra='["a"]'))


def test_a_direct_delivery_needs_another_target_than_the_log(operator: Client) -> None:
    assert "deliver" in errors(operator, deliver_only="on")


def test_unsigned_requests_are_for_loopback_only(operator: Client, settings: Any) -> None:
    settings.WEBHOOK_HOST = "0.0.0.0"
    assert "insecure_no_auth" in errors(operator, insecure_no_auth="on")
    settings.WEBHOOK_HOST = "127.0.0.1"
    operator.post(f"{LIST}add/", filled(insecure_no_auth="on"))
    assert Route.objects.get().insecure_no_auth


def test_the_page_shows_the_address_the_last_events_and_the_refusals(
    operator: Client, route: Route, settings: Any
) -> None:
    settings.PUBLIC_URL = "https://hermes.example.dev"
    event, refusal = an_event(), a_refusal()
    shown = operator.get(page(route)).content.decode()
    assert "https://hermes.example.dev/webhooks/github-pr" in shown
    assert f"/admin/deliveries/event/{event.pk}/change/" in shown
    assert f"/admin/routes/refusal/{refusal.pk}/change/" in shown
    assert "/admin/routes/refusal/?route=github-pr" in shown


def test_the_page_sums_up_the_last_day(operator: Client, route: Route, agent: Agent) -> None:
    for status in ("delivered", "delivered", "failed"):
        a_delivery(agent.lane_id, status, event=an_event())
    a_delivery(agent.lane_id, "pending", event=an_event(age=timedelta(hours=25)))
    a_delivery(agent.lane_id, "unreachable", event=an_event(route="other"))
    for reason in ("bad_signature", "stale_timestamp", "bad_signature"):
        a_refusal(reason=reason)
    a_refusal(reason="too_large", at=timezone.now() - timedelta(hours=25))
    response = operator.get(page(route))
    day, refused = response.context["day"], response.context["refused"]
    assert (day.events, day.more) == (3, False)
    assert day.deliveries == [("delivered", "delivered", 2), ("failed", "failed", 1)]
    assert (refused.total, refused.reasons, refused.capped) == (
        3, [("bad_signature", 2), ("stale_timestamp", 1)], False,
    )  # fmt: skip
    assert "×2" in response.content.decode()


def test_a_count_of_refusals_says_when_older_ones_are_gone(
    operator: Client, route: Route, settings: Any
) -> None:
    settings.REFUSALS_PER_ROUTE = 2
    for _ in range(2):
        a_refusal()
    assert "2 or more" in operator.get(page(route)).content.decode()


def test_the_page_asks_the_same_few_questions_however_much_happened(
    operator: Client, route: Route, agent: Agent, django_assert_max_num_queries: Any
) -> None:
    for _ in range(40):
        a_delivery(agent.lane_id, event=an_event())
        a_refusal()
    with django_assert_max_num_queries(25):
        operator.get(page(route))


def test_the_page_says_where_at_the_sender_address_and_secret_are_entered(
    operator: Client, route: Route
) -> None:
    assert "Add webhook" in operator.get(page(route)).content.decode()


def test_a_route_without_a_secret_says_so(operator: Client, route: Route) -> None:
    assert "No secret yet." in operator.get(page(route)).content.decode()


def test_a_new_secret_is_explained_then_shown_once(operator: Client, route: Route) -> None:
    assert operator.get(page(route, "secret")).status_code == 200
    assert not route.secrets.exists()

    response = operator.post(page(route, "secret"))
    secret = route.secrets.get().value
    assert secret in response.content.decode()
    assert "no-store" in response.headers["Cache-Control"]
    shown = operator.get(page(route)).content.decode()
    assert secret not in shown
    assert secret[-4:] in shown
    assert LogEntry.objects.get().change_message == "Gave it a new secret."


def test_the_old_secret_counts_for_another_day(operator: Client, route: Route) -> None:
    operator.post(page(route, "secret"))
    operator.post(page(route, "secret"))
    new, old = route.secrets.live()
    assert new.not_after is None
    assert old.not_after is not None
    left = old.not_after - timezone.now()
    assert timedelta(hours=23) < left <= timedelta(hours=24)


def test_a_secret_of_the_senders_is_stored_and_not_repeated(operator: Client, route: Route) -> None:
    Route.objects.filter(pk=route.pk).update(insecure_no_auth=True)
    given = "a-secret-that-the-sender-made"
    response = operator.post(page(route, "secret"), {"secret": given}, follow=True)
    assert given not in response.content.decode()
    assert route.secrets.get().value == given
    route.refresh_from_db()
    assert not route.insecure_no_auth


def test_a_file_route_is_read_only(operator: Client, route: Route) -> None:
    Route.objects.filter(pk=route.pk).update(origin=Route.Origin.FILE)
    assert "set in config.yaml" in operator.get(page(route)).content.decode()
    assert operator.post(page(route), filled()).status_code == 403
    assert operator.post(page(route, "delete"), {"post": "yes"}).status_code == 403
    operator.post(page(route, "secret"))
    assert not route.secrets.exists()


def test_without_the_permission_a_new_secret_is_hidden_and_refused(
    person_with: Callable[..., Client], route: Route
) -> None:
    reader = person_with("routes.view_route", "routes.change_route")
    assert "secret/" not in reader.get(page(route)).content.decode()
    assert reader.post(page(route, "secret")).status_code == 403
    assert not route.secrets.exists()


def test_who_may_only_look_sees_the_page(person_with: Callable[..., Client], route: Route) -> None:
    assert person_with("routes.view_route").get(page(route)).status_code == 200


def test_the_list_asks_the_same_few_questions_however_long_it_is(
    operator: Client, django_assert_max_num_queries: Any
) -> None:
    for number in range(20):
        Route.objects.create(name=f"route-{number}")
    with django_assert_max_num_queries(8):
        operator.get(LIST)


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"filters": [{"field": "a", "regex": "("}]}, "filters[0].regex"),
        ({"preset": "custom", "custom_scheme": {"scheme": "magic"}}, "custom_scheme: scheme"),
        ({"fan_out": [{"deliver": 7}]}, "fan_out"),
        ({"coalesce": {"key": ""}}, "coalesce"),
    ],
)
def test_a_route_that_the_receive_path_leaves_out_says_why(
    operator: Client, route: Route, fields: dict[str, Any], place: str
) -> None:
    Route.objects.filter(pk=route.pk).update(**fields)
    shown = operator.get(page(route)).content.decode()
    assert "The route can’t be used" in shown
    assert place in shown
    assert "can’t be used" in operator.get(LIST).content.decode()
