"""Switching the connection mode: propose, confirm, cancel."""

import base64
import threading
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.core.exceptions import ValidationError
from django.db import connection

from agents.models import Agent, AgentSecret, Artifact
from agents.services import (
    DecisionRefused,
    cancel,
    confirm_switch,
    describe_switch,
    mark_unreachable,
    propose_switch,
)
from agents.services.events import emit
from deliveries.fetching import fetch
from deliveries.models import Delivery, Lane

from .conftest import SECRET, deliver, make_agent

NEW_URL = "https://93.184.215.14/hashee/new"
GIVEN = base64.b64encode(bytes(range(32))).decode()


@pytest.fixture
def offline(db: None) -> Agent:
    """An agent in websocket mode, as the default one starts."""
    agent = Agent.objects.create(name="newcomer")
    assert agent.lane.state == Lane.State.HELD
    return agent


def now(agent: Agent) -> tuple[str, str, str, str]:
    fresh = Agent.objects.select_related("lane").get(pk=agent.pk)
    return (
        fresh.connection_mode,
        fresh.webhook_url,
        fresh.connection_status,
        fresh.lane.state,
    )


def live_secrets(agent: Agent) -> list[str]:
    return [secret.value for secret in AgentSecret.objects.live().filter(agent=agent)]


def test_a_proposal_changes_nothing(offline: Agent) -> None:
    artifact = propose_switch(offline, "webhook", NEW_URL)
    assert (artifact.kind, artifact.state) == ("switch", "open")
    assert artifact.expires_at - artifact.created_at == timedelta(minutes=10)
    assert now(offline) == ("websocket", "", "offline", "held")
    assert live_secrets(offline) == []


def test_a_confirmation_switches_to_webhook_and_sends_what_waited(offline: Agent) -> None:
    deliver(offline)
    generated = confirm_switch(propose_switch(offline, "webhook", NEW_URL), "ann")
    assert now(offline) == ("webhook", NEW_URL, "ready", "flushing")
    assert generated is not None
    assert len(base64.urlsafe_b64decode(generated)) >= 32
    assert live_secrets(offline) == [generated]


def test_a_secret_that_was_given_is_used_and_not_shown_again(offline: Agent) -> None:
    assert confirm_switch(propose_switch(offline, "webhook", NEW_URL, f" {GIVEN}\n"), "ann") is None
    assert live_secrets(offline) == [GIVEN]


def test_a_switch_to_websocket_holds_the_lane_and_forgets_the_url(agent: Agent) -> None:
    delivery = deliver(agent)
    assert confirm_switch(propose_switch(agent, "websocket"), "ann") is None
    assert now(agent) == ("websocket", "", "offline", "held")
    assert Delivery.objects.get(pk=delivery.pk).status == "pending"


def test_a_new_url_rotates_the_secret_with_an_overlap_and_reloads_the_lane(agent: Agent) -> None:
    version = Lane.objects.get(pk=agent.lane_id).version
    confirm_switch(propose_switch(agent, "webhook", NEW_URL, GIVEN), "ann")
    assert live_secrets(agent) == [GIVEN, SECRET]
    assert AgentSecret.objects.get(agent=agent, not_after=None).value == GIVEN
    assert Lane.objects.get(pk=agent.lane_id).version > version


def test_a_new_url_takes_an_unreachable_agent_back(agent: Agent) -> None:
    mark_unreachable(agent)
    confirm_switch(propose_switch(agent, "webhook", NEW_URL), "ann")
    assert now(agent) == ("webhook", NEW_URL, "ready", "flushing")


def test_confirming_twice_switches_once(offline: Agent) -> None:
    artifact = propose_switch(offline, "webhook", NEW_URL)
    same = Artifact.objects.get(pk=artifact.pk)
    secret = confirm_switch(artifact, "ann")
    with pytest.raises(DecisionRefused, match="confirmed already"):
        confirm_switch(same, "bob")
    assert live_secrets(offline) == [secret]


def test_a_proposal_expires_after_ten_minutes(offline: Agent) -> None:
    start = datetime(2026, 5, 15, 10, 0, tzinfo=UTC)
    with time_machine.travel(start, tick=False) as clock:
        artifact = propose_switch(offline, "webhook", NEW_URL)
        clock.shift(timedelta(minutes=10))
        with pytest.raises(DecisionRefused, match="expired"):
            confirm_switch(artifact, "ann")
        assert now(offline) == ("websocket", "", "offline", "held")
        clock.shift(timedelta(seconds=-1))
        confirm_switch(artifact, "ann")
    assert now(offline)[0] == "webhook"


def test_a_confirmation_is_refused_when_the_agent_was_changed_meanwhile(agent: Agent) -> None:
    artifact = propose_switch(agent, "webhook", NEW_URL, GIVEN)
    Agent.objects.filter(pk=agent.pk).update(webhook_url="https://93.184.215.14/other")
    before = now(agent)
    with pytest.raises(DecisionRefused, match="changed after"):
        confirm_switch(artifact, "ann")
    assert now(agent) == before
    assert live_secrets(agent) == [SECRET]
    artifact.refresh_from_db()
    assert artifact.state == "open"


def test_a_cancelled_proposal_cannot_be_confirmed(offline: Agent) -> None:
    artifact = propose_switch(offline, "webhook", NEW_URL, GIVEN)
    cancel(artifact)
    with pytest.raises(DecisionRefused, match="cancelled"):
        confirm_switch(artifact, "ann")
    assert now(offline)[0] == "websocket"


def test_what_was_confirmed_cannot_be_cancelled(offline: Agent) -> None:
    artifact = propose_switch(offline, "webhook", NEW_URL)
    confirm_switch(artifact, "ann")
    with pytest.raises(DecisionRefused, match="confirmed already"):
        cancel(artifact)


def test_a_newer_proposal_takes_the_place_of_an_open_one(offline: Agent) -> None:
    first = propose_switch(offline, "webhook", NEW_URL, GIVEN)
    propose_switch(offline, "webhook", NEW_URL)
    first.refresh_from_db()
    assert (first.state, first.secret) == ("cancelled", "")


@pytest.mark.parametrize("decide", [cancel, lambda artifact: confirm_switch(artifact, "ann")])
def test_a_given_secret_is_stored_encrypted_and_only_until_the_decision(
    offline: Agent, decide: object
) -> None:
    artifact = propose_switch(offline, "webhook", NEW_URL, GIVEN)
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM agents_artifact")
        assert GIVEN not in repr(cursor.fetchall())
    assert Artifact.objects.get(pk=artifact.pk).secret == GIVEN
    decide(artifact)  # type: ignore[operator]
    assert Artifact.objects.get(pk=artifact.pk).secret == ""


def test_the_log_names_who_confirmed_and_no_secret(
    offline: Agent, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    confirm_switch(propose_switch(offline, "webhook", NEW_URL, GIVEN), "ann")
    assert "by ann" in caplog.text
    assert GIVEN not in caplog.text


@pytest.mark.parametrize(
    ("mode", "url", "secret", "field"),
    [
        ("carrier-pigeon", NEW_URL, "", "mode"),
        ("", NEW_URL, "", "mode"),
        ("websocket", "", "", "mode"),
        ("webhook", "", "", "url"),
        ("webhook", "not a url", "", "url"),
        ("webhook", "ftp://93.184.215.14/", "", "url"),
        ("webhook", "http://127.0.0.1/hook", "", "url"),
        ("webhook", "http://169.254.169.254/", "", "url"),
        ("webhook", "http://10.0.0.1/hook", "", "url"),
        ("webhook", "https://user:word@93.184.215.14/", "", "url"),
        ("webhook", NEW_URL, "too short", "secret"),
        ("webhook", NEW_URL, base64.b64encode(b"x" * 31).decode(), "secret"),
        ("webhook", NEW_URL, "0123456789abcdef" * 2, "secret"),
    ],
)
def test_a_bad_proposal_names_its_field(
    offline: Agent, mode: str, url: str, secret: str, field: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        propose_switch(offline, mode, url, secret)
    assert list(caught.value.message_dict) == [field]
    assert all(secret not in said for said in caught.value.messages if secret)
    assert not Artifact.objects.exists()


@pytest.mark.parametrize(
    "secret",
    [
        GIVEN,
        GIVEN.rstrip("="),
        base64.urlsafe_b64encode(b"\xff" * 32).decode(),
        "0123456789abcdef" * 4,
        "correct horse battery staple, again!",
        "密钥" * 6,
    ],
)
def test_a_secret_of_32_bytes_is_taken(offline: Agent, secret: str) -> None:
    propose_switch(offline, "webhook", NEW_URL, secret)


def test_the_form_says_what_will_happen_to_the_socket_the_events_and_the_queue(
    offline: Agent,
) -> None:
    deliver(offline)
    deliver(offline)
    told = describe_switch(propose_switch(offline, "webhook", NEW_URL))
    assert (told.now, told.then) == ("WebSocket", f"Webhook: {NEW_URL}")
    effects = " ".join(told.effects)
    for word in ("closed", "no longer", "shown once", "2 deliveries"):
        assert word in effects


def test_the_form_for_websocket_says_that_deliveries_wait(agent: Agent) -> None:
    deliver(agent)
    told = describe_switch(propose_switch(agent, "websocket"))
    assert told.then == "WebSocket"
    assert "offline" in " ".join(told.effects)
    assert "1 delivery" in " ".join(told.effects)


@pytest.mark.django_db(transaction=True)
def test_of_two_confirmations_at_once_one_switches() -> None:
    agent = make_agent("raced")
    artifact = propose_switch(agent, "webhook", NEW_URL)
    results: list[str | DecisionRefused | None] = []
    start = threading.Barrier(2)

    def click() -> None:
        start.wait()
        try:
            results.append(confirm_switch(artifact, "ann"))
        except DecisionRefused as refused:
            results.append(refused)
        connection.close()

    threads = [threading.Thread(target=click) for _click in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(isinstance(result, str) for result in results) == 1
    assert AgentSecret.objects.filter(agent=agent, not_after=None).count() == 1


def test_a_switch_to_webhook_skips_what_waits_and_a_webhook_does_not_carry(offline: Agent) -> None:
    emit(offline, "agent.governance", {"state": "restored"})
    emit(offline, "relation.established", {"user_id": "u"})
    confirm_switch(propose_switch(offline, "webhook", NEW_URL), "ann")
    found = dict(Delivery.objects.values_list("event_type", "error_class"))
    assert found == {"agent.governance": "not_for_webhook", "relation.established": ""}


def test_what_a_pulling_agent_had_taken_is_free_at_once_after_a_switch(offline: Agent) -> None:
    confirm_switch(propose_switch(offline, "pull"), "ann")
    deliver(offline)
    assert fetch(offline.lane_id, 10, 60, offline.pk)
    offline.refresh_from_db()
    confirm_switch(propose_switch(offline, "webhook", NEW_URL), "ann")
    assert not Delivery.objects.filter(claim=offline.pk).exists()
