"""Set-up requests on the receive path: answered before or after the signature, and no more."""

import json
import time
from collections.abc import Iterator

import pytest
import time_machine

from deliveries.models import Delivery, Event
from routes import greeting
from routes.inbound import Answer
from routes.models import RateWindow, Refusal
from routes.presets import presets
from routes.signatures import sign_request

from .keypairs import secret_pair
from .test_hostile import ask, make_route

pytestmark = pytest.mark.django_db

CHALLENGE = b'{"type": "url_verification", "challenge": "3eZbrw1aB", "token": "Jhj5dZrV"}'
VALIDATION = b'{"event": "endpoint.url_validation", "payload": {"plainToken": "abc123"}}'
SUBSCRIBE = "hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token="


@pytest.fixture(autouse=True)
def _nobody_asked_yet() -> None:
    greeting._asked.clear()


@pytest.fixture(autouse=True)
def _nothing_comes_of_it() -> Iterator[None]:
    """No handshake wakes anybody, is kept as an event, or spends the limit."""
    yield
    assert not Event.objects.exists()
    assert not Delivery.objects.exists()
    assert not RateWindow.objects.exists()


def say_signed(name: str, body: bytes) -> Answer:
    """Send a body as the source signs it, to a route of its own."""
    preset = presets()[name]
    private, public = secret_pair(preset)
    make_route(preset=name, secret=public, rate_limit=5)
    signed = sign_request(
        preset, private, body, now=time.time(), delivery_id="d-1", event="", content_type="a/b"
    )
    return ask(signed.body, dict(signed.headers), query=signed.at.query)


@pytest.mark.parametrize(
    ("name", "body", "status", "said"),
    [
        ("slack", CHALLENGE, 200, b'{"challenge":"3eZbrw1aB"}'),
        ("discord", b'{"type":1}', 200, b'{"type":1}'),
        ("discord", b'{"type":0}', 204, b""),
    ],
)
def test_a_signed_one_is_answered(name: str, body: bytes, status: int, said: bytes) -> None:
    answer = say_signed(name, body)
    assert (answer.status, answer.content) == (status, said)


def test_zooms_is_answered_with_a_hash() -> None:
    answer = json.loads(say_signed("zoom", VALIDATION).content)
    assert answer["plainToken"] == "abc123"
    assert len(answer["encryptedToken"]) == 64


@pytest.mark.parametrize(
    ("name", "body"), [("slack", CHALLENGE), ("discord", b'{"type": 1}'), ("zoom", VALIDATION)]
)
def test_an_unsigned_one_is_refused_where_the_source_signs_it(name: str, body: bytes) -> None:
    make_route(preset=name, secret=secret_pair(presets()[name])[1])
    assert ask(body, {}).status == 401
    assert Refusal.objects.get().reason == "missing_signature"


def test_an_unsigned_one_is_answered_for_the_right_word_only() -> None:
    make_route(preset="feishu_token", secret="Jhj5dZrV")
    assert json.loads(ask(CHALLENGE, {}).content) == {"challenge": "3eZbrw1aB"}
    assert ask(CHALLENGE.replace(b"Jhj5dZrV", b"another"), {}).status == 401
    assert Refusal.objects.get().reason == "bad_handshake"


def test_one_by_get_is_answered_for_the_right_word_only() -> None:
    make_route(preset="meta", secret="app-secret:verify-token")
    answer = ask(b"", {}, method="GET", query=f"{SUBSCRIBE}verify-token")
    assert (answer.status, answer.content) == (200, b"1158201444")
    assert ask(b"", {}, method="GET", query=f"{SUBSCRIBE}another").status == 401
    assert ask(b"", {}, method="GET").status == 405


def test_one_by_options_is_answered() -> None:
    make_route(preset="cloudevents")
    answer = ask(b"", {"webhook-request-origin": "a.example"}, method="OPTIONS")
    assert (answer.status, answer.headers["WebHook-Allowed-Origin"]) == (200, "a.example")


@pytest.mark.parametrize("method", ["GET", "OPTIONS", "PUT"])
def test_a_route_whose_source_asks_nothing_has_nothing_to_say(method: str) -> None:
    make_route(preset="github")
    assert (
        ask(b"", {"webhook-request-origin": "a"}, method=method, query="challenge=1").status == 405
    )


@pytest.mark.parametrize("preset", ["auto", "github", "generic"])
def test_no_other_source_is_greeted(preset: str) -> None:
    make_route(preset=preset)
    assert ask(CHALLENGE, {}).status == 401
    assert ask(b"", {}, method="GET", query=f"{SUBSCRIBE}canary-secret-of-the-route").status == 405


def test_more_than_thirty_a_minute_are_429() -> None:
    make_route(preset="dropbox")
    make_route("other", preset="dropbox")
    with time_machine.travel(time.time(), tick=False):
        answers = [ask(b"", {}, method="GET", query="challenge=abc") for _ in range(31)]
    assert [answer.status for answer in answers] == [200] * 30 + [429]
    assert answers[-1].headers["Retry-After"] == "60"
    assert ask(b"", {}, method="GET", query="challenge=abc", route="other").status == 200


def test_a_disabled_route_greets_nobody() -> None:
    make_route(preset="dropbox", enabled=False)
    assert ask(b"", {}, method="GET", query="challenge=abc").status == 403
