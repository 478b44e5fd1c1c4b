"""Every sample of every source through the whole receive path: stored once, named, rendered."""

import json
import time
from typing import Any
from urllib.parse import urlsplit

import pytest

from deliveries.models import Delivery, Event, Payload
from routes.inbound import Answer
from routes.models import Refusal
from routes.presets import AUTO, Preset, Scheme, presets
from routes.samples import Request, sample, samples, signed_request

from .keypairs import secret_pair
from .test_hostile import ask, make_route

pytestmark = pytest.mark.django_db

PRESETS = list(presets().values())
SIGNED = [preset for preset in PRESETS if preset.scheme is not Scheme.NONE]
WITH_PUBLIC_KEYS = [one for one in SIGNED if one.scheme in (Scheme.ED25519, Scheme.ECDSA)]
TELLING = [one for one in SIGNED if one.auto and one.marks and one not in WITH_PUBLIC_KEYS]
SAMPLES = [(preset, one.event) for preset in SIGNED for one in samples(preset.name)]
ADDRESS = "http://localhost:8644/webhooks/r"


def send(request: Request) -> Answer:
    query = urlsplit(request.url).query
    return ask(request.body, dict(request.headers), method=request.method, query=query)


def request_of(preset: Preset, event: str | None = None) -> Request:
    secret, _public = secret_pair(preset)
    return signed_request(preset, secret, sample(preset.name, event), ADDRESS, time.time())


def route_for(preset: Preset, **fields: Any) -> None:
    make_route(preset=preset.name, secret=secret_pair(preset)[1], **fields)


@pytest.mark.parametrize(
    ("preset", "event"), SAMPLES, ids=[f"{preset.name}-{event}" for preset, event in SAMPLES]
)
def test_a_sample_is_stored_once_under_its_name(preset: Preset, event: str) -> None:
    route_for(preset, events=[event], prompt="{event_type}: {__raw__}", fence=False)
    request = request_of(preset, event)
    first, second = send(request), send(request)
    answer = json.loads(first.content)
    assert (first.status, answer["status"], answer["event"]) == (202, "accepted", event)
    assert json.loads(second.content)["status"] == "duplicate"
    assert Event.objects.get().type == event
    text = json.loads(bytes(Payload.objects.get(pk=Delivery.objects.get().pk).body))["text"]
    assert text.startswith(f"{event}: ")
    assert "{__raw__}" not in text
    assert not Refusal.objects.exists()


@pytest.mark.parametrize("preset", SIGNED, ids=lambda preset: preset.name)
def test_no_secret_is_kept_with_an_event(preset: Preset) -> None:
    route_for(preset)
    send(request_of(preset))
    kept = json.dumps(Event.objects.get().headers)
    assert not [part for part in secret_pair(preset)[1].split(":") if part in kept]
    assert "signature" not in kept


@pytest.mark.parametrize("preset", TELLING, ids=lambda preset: preset.name)
def test_a_route_that_goes_by_the_headers_takes_whom_they_tell(preset: Preset) -> None:
    make_route(preset=AUTO, secret=secret_pair(preset)[1])
    assert send(request_of(preset)).status == 202


@pytest.mark.parametrize("preset", WITH_PUBLIC_KEYS, ids=lambda preset: preset.name)
def test_a_public_key_opens_no_route_that_goes_by_the_headers(preset: Preset) -> None:
    """Anyone may know it, and could make a keyed hash with it."""
    make_route(preset=AUTO, secret=secret_pair(preset)[1])
    assert send(request_of(preset)).status == 401


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.name)
def test_an_unsigned_request_is_refused(preset: Preset) -> None:
    route_for(preset)
    one = sample(preset.name)
    answer = ask(json.dumps(one.payload).encode(), {"content-type": "application/json"})
    assert (answer.status, answer.body) == (401, {"error": "Invalid signature"})
    assert not Event.objects.exists()
