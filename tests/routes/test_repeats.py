"""The same delivery again: known by its id, whatever its sender rewrites for the next try."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from deliveries.models import Event
from routes.inbound import Answer
from routes.models import Refusal
from routes.presets import presets
from routes.samples import sample, signed_request

from .keypairs import secret_pair
from .test_hostile import ask, make_route

pytestmark = pytest.mark.django_db

# Each with the field that is another one in its next try.
REWRITES = {
    "notion": "attempt_number",
    "intercom": "delivery_attempts",
    "linear": "webhookTimestamp",
}


def tries(name: str, changed: str, number: int = 2) -> Iterator[Answer]:
    """Send one event of a source several times, rewritten and signed anew each time."""
    preset = presets()[name]
    secret, kept = secret_pair(preset)
    make_route(preset=name, secret=kept)
    one = sample(name)
    payload: Any = one.payload
    for attempt in range(number):
        payload[changed] = attempt + 1
        # Linear signs the time: the next try is a later one.
        now = time.time() + attempt
        request = signed_request(preset, secret, one, "http://localhost:8644/webhooks/r", now)
        yield ask(request.body, dict(request.headers))


def test_the_sources_that_rewrite_their_repeats_are_known() -> None:
    found = {name for name, preset in presets().items() if preset.rewrites_retries}
    assert found == REWRITES.keys()
    for name in found:
        assert presets()[name].id_headers or presets()[name].id_paths


@pytest.mark.parametrize("name", REWRITES)
def test_a_repeat_with_another_body_is_a_duplicate(name: str) -> None:
    first, second = tries(name, REWRITES[name])
    assert (first.status, second.status) == (202, 200)
    assert json.loads(second.content) == {
        "status": "duplicate",
        "delivery_id": json.loads(first.content)["delivery_id"],
    }
    assert Event.objects.count() == 1
    assert not Refusal.objects.exists()


def test_of_any_other_source_it_is_a_conflict() -> None:
    first, second = tries("stripe", "attempt")
    assert (first.status, second.status) == (202, 409)
    assert Event.objects.count() == 1
    assert Refusal.objects.get().reason == "id_conflict"
