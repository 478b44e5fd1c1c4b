"""Alert settings and incidents in the admin."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.utils import timezone

from agents.models import Agent
from deliveries.models import Delivery
from hermes_site.models import AlertSettings, Incident
from platforms.models import Channel

pytestmark = pytest.mark.django_db

PAGE = "/admin/hermes_site/alertsettings/1/change/"
TEST = "/admin/hermes_site/alertsettings/1/test/"


def filled(**changes: Any) -> dict[str, Any]:
    return {
        "channel": "", "substitute": "", "kinds": ["agent", "route"], "expires_within": "60",
        "route_errors": "10", "route_share": "20", "quiet_from": "", "quiet_until": "",
        "quiet_zone": "UTC",
    } | changes  # fmt: skip


def errors(operator: Client, **changes: Any) -> str:
    answer = operator.post(PAGE, filled(**changes))
    assert answer.status_code == 200
    return answer.content.decode()


def test_the_list_leads_to_the_one_page(operator: Client) -> None:
    answer = operator.get("/admin/hermes_site/alertsettings/")
    assert answer.headers["Location"] == PAGE


def test_the_page_shows_what_counts_before_anything_was_saved(operator: Client) -> None:
    shown = operator.get(PAGE).content.decode()
    assert shown.count('name="kinds"') == shown.count("checked") == 5
    assert not AlertSettings.objects.exists()


def test_the_settings_are_saved_as_the_one_row(operator: Client, channel: Channel) -> None:
    for minutes in ("30", "45"):
        sent = filled(channel=channel.pk, expires_within=minutes, quiet_zone="Asia/Shanghai")
        assert operator.post(PAGE, sent).status_code == 302
    row = AlertSettings.objects.get()
    assert (row.channel, row.expires_within, row.kinds) == (channel, 45, ["agent", "route"])
    assert LogEntry.objects.count() == 2


def test_saving_does_not_forget_when_was_looked_last(operator: Client, told: AlertSettings) -> None:
    operator.post(PAGE, filled())
    assert AlertSettings.objects.get().looked_at == told.looked_at


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"quiet_from": "22:00"}, "Quiet hours need both a beginning and an end."),
        ({"quiet_from": "22:00", "quiet_until": "22:00"}, "never end"),
        ({"quiet_zone": "Mars/Olympus"}, "Select a valid choice"),
        ({"kinds": ["weather"]}, "Select a valid choice"),
        ({"expires_within": "2"}, "greater than or equal to 5"),
        ({"route_errors": "0"}, "greater than or equal to 1"),
        ({"route_share": "101"}, "less than or equal to 100"),
    ],
)
def test_what_can_not_be_is_said_beside_the_field(
    operator: Client, changes: dict[str, Any], said: str
) -> None:
    assert said in errors(operator, **changes)


def test_a_channel_is_not_its_own_substitute(operator: Client, channel: Channel) -> None:
    assert "another one" in errors(operator, channel=channel.pk, substitute=channel.pk)


def test_the_test_alert_says_where_it_goes_and_goes_there(
    operator: Client, told: AlertSettings
) -> None:
    assert "<strong>ops</strong>" in operator.get(TEST).content.decode()
    assert not Delivery.objects.exists()
    answer = operator.post(TEST, follow=True)
    assert "A test is on its way to ops" in answer.content.decode()
    assert Delivery.objects.get().lane_id == told.channel.lane_id
    assert LogEntry.objects.latest("pk").change_message == "Sent a test alert to ops."


def test_without_a_channel_there_is_nothing_to_test(operator: Client) -> None:
    shown = operator.get(TEST).content.decode()
    assert "No channel is chosen" in shown
    assert "<button" not in shown.partition('class="acts"')[2]
    assert "No channel could take it." in operator.post(TEST, follow=True).content.decode()
    assert not Delivery.objects.exists()


def test_a_channel_that_ails_is_said_to(operator: Client, told: AlertSettings) -> None:
    Channel.objects.filter(pk=told.channel_id).update(health="needs_attention")
    assert "off or needs attention" in operator.get(TEST).content.decode()


def test_who_may_only_look_can_not_send(
    person_with: Callable[..., Client], told: AlertSettings
) -> None:
    viewer = person_with("hermes_site.view_alertsettings")
    shown = viewer.get(PAGE)
    assert shown.status_code == 200
    assert "Send a test alert" not in shown.content.decode()
    assert viewer.post(TEST).status_code == 403
    assert viewer.post(PAGE, filled()).status_code == 403


def an_incident(**fields: Any) -> Incident:
    now = timezone.now()
    words = {"kind": "agent", "subject": "x", "label": "DemoBot", "detail": "2 deliveries wait."}
    return Incident.objects.create(**(words | {"opened_at": now, "seen_at": now} | fields))


def test_incidents_are_listed_and_those_that_are_over_can_be_left_out(operator: Client) -> None:
    an_incident(label="first", closed_at=timezone.now())
    an_incident(label="second")
    shown = operator.get("/admin/hermes_site/incident/?state=open").content.decode()
    assert "An agent is unreachable: second" in shown
    assert "An agent is unreachable: first" not in shown


def test_an_incident_leads_to_what_ails_and_to_its_alert(operator: Client, agent: Agent) -> None:
    event = an_incident().pk
    incident = an_incident(subject=str(agent.pk), told_event=event)
    page = operator.get(f"/admin/hermes_site/incident/{incident.pk}/change/").content.decode()
    assert f"/admin/agents/agent/{agent.pk}/change/" in page
    assert f"/admin/deliveries/event/{event}/change/" in page


@pytest.mark.parametrize(
    ("kind", "subject"), [("expiring", "999999"), ("route", "gone"), ("worker", "")]
)
def test_an_incident_of_what_is_gone_still_has_its_page(
    operator: Client, kind: str, subject: str
) -> None:
    incident = an_incident(kind=kind, subject=subject)
    answer = operator.get(f"/admin/hermes_site/incident/{incident.pk}/change/")
    assert answer.status_code == 200


def test_nobody_writes_incidents_by_hand(operator: Client) -> None:
    incident = an_incident()
    assert operator.get("/admin/hermes_site/incident/add/").status_code == 403
    address = f"/admin/hermes_site/incident/{incident.pk}"
    assert operator.post(f"{address}/delete/", {"post": "yes"}).status_code == 403
    assert operator.post(f"{address}/change/", {"kind": "route"}).status_code == 403


def test_saving_anew_replaces_the_one_row(told: AlertSettings, channel: Channel) -> None:
    AlertSettings(channel=channel).save()
    assert AlertSettings.objects.get().channel == channel
