"""A DingTalk channel in the admin: its form, its test, its sessions."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import orjson
import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from agents.models import Agent
from deliveries.ids import new_id
from deliveries.models import Attempt, Delivery, Event
from platforms import tokens
from platforms.models import Channel, SessionWebhook

from .dingtalk import CLIENT_ID, GROUP_CHAT, LENT, PRIVATE_CHAT, SECRET, api_no
from .fake import FakePlatform

pytestmark = pytest.mark.django_db

ADD = "/admin/platforms/channel/add/?kind=dingtalk"
OUTSIDER = "cidOutsider0123456789abcdEF=="


@pytest.fixture(autouse=True)
def nothing_held() -> Iterator[None]:
    tokens.forget_all()
    yield
    tokens.forget_all()


@pytest.fixture
def ding() -> Channel:
    config = {"client_id": CLIENT_ID, "client_secret": SECRET}
    return Channel.objects.create(name="ding", kind="dingtalk", config=config)


def page(channel: Channel, name: str = "change") -> str:
    return reverse(f"admin:platforms_channel_{name}", args=[channel.pk])


def shown(client: Client, channel: Channel) -> str:
    return " ".join(client.get(page(channel)).content.decode().split())


def session(channel: Channel, chat: str, minutes: float, **facts: Any) -> SessionWebhook:
    now = timezone.now()
    defaults = {
        "url": "https://oapi.dingtalk.com/robot/sendBySession?session=very-secret",
        "expires_at": now + timedelta(minutes=minutes),
        "conversation_type": "2" if chat == GROUP_CHAT else "1",
        "title": chat[3:9],
        "connection": uuid4(),
        "created_at": now,
    }
    return SessionWebhook.objects.create(
        channel=channel, conversation_id=chat, **{**defaults, **facts}
    )


def sent(
    channel: Channel, target: dict[str, str], *roads: str, status: str = "delivered"
) -> Delivery:
    event = Event.objects.create(
        source="agent", type="message.new", trace=new_id(), received_at=timezone.now()
    )
    delivery = Delivery.objects.create(
        event=event,
        lane_id=channel.lane_id,
        event_type="message.new",
        target=target,
        status="delivered",
        attempt_count=len(roads),
        created_at=timezone.now(),
    )
    for number, road in enumerate(roads, start=1):
        Attempt.objects.create(
            delivery=delivery,
            number=number,
            trigger="auto",
            started_at=timezone.now(),
            verdict="delivered",
            provider_ids=orjson.loads(orjson.dumps({"road": [road, road]})),
        )
    return delivery


def form(fake: FakePlatform, **values: str) -> dict[str, str]:
    return {
        "name": "ding",
        "enabled": "on",
        "config-client_id": CLIENT_ID,
        "config-client_secret": SECRET,
        "config-stream": "on",
        "config-api_base": fake.url,
        "home-chat_id": GROUP_CHAT,
        **values,
    }


def test_a_channel_is_added_and_its_connection_tested(
    admin_client: Client, fake: FakePlatform
) -> None:
    assert admin_client.post(ADD, form(fake)).status_code == 302
    ding = Channel.objects.get(name="ding")
    assert ding.config["stream"] is True
    assert ding.home == {"chat_id": GROUP_CHAT}
    fake.script(LENT)
    asked = admin_client.get(page(ding, "test")).content.decode()
    assert fake.url in asked
    told = admin_client.post(page(ding, "test"), follow=True).content.decode()
    assert "“ding” works: DingTalk knows the app and its secret." in told
    assert SECRET not in asked + told


def test_a_wrong_secret_is_told(admin_client: Client, fake: FakePlatform) -> None:
    admin_client.post(ADD, form(fake))
    fake.script(api_no(400, "invalidClientIdOrSecret"))
    ding = Channel.objects.get(name="ding")
    told = admin_client.post(page(ding, "test"), follow=True).content.decode()
    assert "invalidClientIdOrSecret" in told
    ding.refresh_from_db()
    assert ding.health == "needs_attention"


@pytest.mark.parametrize("chat", ["x", "cid1", "user:", "群"])
def test_a_home_that_dingtalk_cannot_have_is_refused(
    admin_client: Client, fake: FakePlatform, chat: str
) -> None:
    response = admin_client.post(ADD, form(fake, **{"home-chat_id": chat}))
    assert response.status_code == 200
    assert "A chat is cid…" in response.content.decode()


def test_without_sessions_the_page_says_what_brings_one(
    admin_client: Client, ding: Channel
) -> None:
    assert "The first comes when somebody writes to the robot" in shown(admin_client, ding)


def test_another_platforms_channel_has_no_sessions(admin_client: Client) -> None:
    other = Channel.objects.create(name="log-2", kind="log")
    assert 'id="sessions"' not in shown(admin_client, other)


@pytest.mark.parametrize(
    ("minutes", "facts", "clock"),
    [
        (90, {}, "good for 1\xa0hour, 30\xa0minutes"),
        (9.99, {}, "ends in 9\xa0minutes"),
        (0.5, {}, "ends within a minute"),
        (-7, {}, "ended 7\xa0minutes ago"),
        (-7, {"url": ""}, "closed 7\xa0minutes ago"),
    ],
)
def test_each_session_shows_its_clock(
    admin_client: Client,
    ding: Channel,
    time_machine: Any,
    minutes: float,
    facts: dict[str, Any],
    clock: str,
) -> None:
    time_machine.move_to(timezone.now(), tick=False)
    session(ding, GROUP_CHAT, minutes, **facts)
    text = admin_client.get(page(ding)).content.decode()
    assert clock in text
    assert "very-secret" not in text


def test_it_says_what_reaches_the_chat_otherwise(admin_client: Client, ding: Channel) -> None:
    session(ding, GROUP_CHAT, 90)
    assert "none: no staff ID" not in shown(admin_client, ding)
    session(ding, OUTSIDER, -1)
    assert "<strong>none: no staff ID</strong>" in shown(admin_client, ding)


def test_the_road_of_the_last_answer_is_shown(admin_client: Client, ding: Channel) -> None:
    session(ding, GROUP_CHAT, 90)
    sent(ding, {"chat_id": GROUP_CHAT}, "session")
    last = sent(ding, {"chat_id": GROUP_CHAT}, "session", "group")
    sent(ding, {"chat_id": PRIVATE_CHAT}, "person")
    text = shown(admin_client, ding)
    link = reverse("admin:deliveries_delivery_change", args=[last.pk])
    assert f'<a href="{link}">Robot OpenAPI, to the group</a>' in text
    assert "to the person" not in text


def test_an_answer_at_home_is_its_chats(admin_client: Client, ding: Channel) -> None:
    Channel.objects.update(home={"chat_id": GROUP_CHAT})
    session(ding, GROUP_CHAT, 90)
    sent(ding, {}, "session")
    assert ">session webhook</a>" in shown(admin_client, ding)


def test_an_answer_to_the_person_is_their_chats(admin_client: Client, ding: Channel) -> None:
    session(ding, PRIVATE_CHAT, 90, staff_id="manager7788")
    sent(ding, {"chat_id": "user:manager7788"}, "person")
    assert "Robot OpenAPI, to the person</a>" in shown(admin_client, ding)


def test_the_page_opens_although_no_key_does(admin_client: Client, ding: Channel) -> None:
    session(ding, GROUP_CHAT, 90)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE platforms_channel SET config = 'x' WHERE name = 'ding'")
        cursor.execute("UPDATE platforms_sessionwebhook SET url = 'x'")
    assert "The vault key does not open" in shown(admin_client, ding)


def test_an_agent_of_its_own_is_chosen_and_let_go_again(
    admin_client: Client, ding: Channel
) -> None:
    own = Agent.objects.create(name="own")
    assert page(ding, "agent") in shown(admin_client, ding)
    said = admin_client.post(page(ding, "agent"), {"agent": str(own.pk)}, follow=True)
    assert "What people write on “ding” goes to own." in said.content.decode()
    ding.refresh_from_db()
    assert ding.agent == own
    assert "selected>own</option>" in admin_client.get(page(ding, "agent")).content.decode()
    admin_client.post(page(ding, "agent"), {"agent": ""})
    ding.refresh_from_db()
    assert ding.agent is None


def test_other_channels_offer_no_choice_of_an_agent(admin_client: Client) -> None:
    other = Channel.objects.create(name="log-2", kind="log")
    assert page(other, "agent") not in shown(admin_client, other)
