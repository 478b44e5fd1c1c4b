"""Every event that GitHub documents, as the people of Octokit collected them.

The package is not ours to ship; `.ci/run` installs it into a folder that git ignores.
"""

import hashlib
import hmac
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from django.conf import settings

from deliveries.models import Delivery, Event, Payload
from routes.matching import as_events, matches
from routes.models import Refusal
from routes.presets import event_type, presets
from routes.templating import compile_template

from .test_hostile import SECRET, ask, make_route

VERSION = "7.6.1"
FOLDER = Path(settings.BASE_DIR, "var/octokit")
FILES = sorted(FOLDER.glob("node_modules/@octokit/webhooks-examples/*/index.json"))
INSTALL = f"npm install --prefix var/octokit @octokit/webhooks-examples@{VERSION}"
BETWEEN = "\x1f"
ADDRESSABLE = re.compile(r"[A-Za-z0-9_]+")

pytestmark = pytest.mark.skipif(
    not FILES, reason=f"GITHUB'S EXAMPLES ARE NOT THERE, nothing of them is tested: {INSTALL}"
)


class Example(NamedTuple):
    """One event: what its header says, and its body."""

    event: str
    payload: dict[str, Any]

    @property
    def headers(self) -> dict[str, str]:
        """The headers it comes with, signed; the id is one of its own."""
        body = self.body
        return {
            "content-type": "application/json",
            "x-github-event": self.event,
            "x-github-delivery": hashlib.md5(body, usedforsecurity=False).hexdigest(),
            "x-hub-signature-256": "sha256=" + hmac.digest(SECRET.encode(), body, "sha256").hex(),
        }

    @property
    def body(self) -> bytes:
        """The body as GitHub writes it, without spaces."""
        return json.dumps(self.payload, ensure_ascii=False, separators=(",", ":")).encode()


@cache
def examples() -> list[Example]:
    """Return the examples of every version of GitHub, each once."""
    found = {
        json.dumps([kind["name"], payload], sort_keys=True): Example(kind["name"], payload)
        for file in FILES
        for kind in json.loads(file.read_text())
        for payload in kind["examples"]
    }
    return list(found.values())


def paths(value: object, before: str = "") -> Iterator[tuple[str, object]]:
    """Return every path that a placeholder can name, with what is there."""
    if isinstance(value, dict):
        items = [(key, item) for key, item in value.items() if ADDRESSABLE.fullmatch(key)]
    else:
        items = [(str(n), item) for n, item in enumerate(value if isinstance(value, list) else ())]
    for key, item in items:
        yield f"{before}{key}", item
        yield from paths(item, f"{before}{key}.")


def test_there_are_hundreds_of_every_kind() -> None:
    assert len(examples()) > 400
    assert len({example.event for example in examples()}) > 55


@pytest.mark.django_db
def test_each_is_signed_accepted_and_named() -> None:
    make_route(preset="github")
    for example in examples():
        answer = ask(example.body, example.headers)
        assert isinstance(answer.body, dict)
        if example.event == "ping":
            assert (answer.status, answer.body["status"]) == (200, "ignored")
        else:
            assert (answer.status, answer.body["status"]) == (202, "accepted"), example.event
        assert answer.body["event"] == example.event
    expected = [example.event for example in examples() if example.event != "ping"]
    stored = Event.objects.order_by("pk")
    assert [event.type for event in stored] == expected
    assert Delivery.objects.count() == len(expected)
    assert not Refusal.objects.exists()
    bodies = dict(Payload.objects.values_list("pk", "body"))
    kept = [bytes(bodies[event.pk]) for event in stored]
    assert kept == [example.body for example in examples() if example.event != "ping"]


def test_each_is_told_from_the_others_by_its_headers_alone() -> None:
    for example in examples():
        assert event_type(presets()["github"], example.headers, example.payload) == example.event
        assert event_type(None, example.headers, example.payload) == example.event


def test_each_is_wanted_by_its_name_and_by_its_name_with_its_action() -> None:
    for example in examples():
        name, headers, payload = example.event, example.headers, example.payload
        assert matches(as_events([name]), name, headers, payload)
        assert not matches(as_events([f"{name}.nothing_of_the_kind"]), name, headers, payload)
        if "action" in payload:
            wanted = as_events([f"{name}.{payload['action']}"])
            assert matches(wanted, name, headers, payload)


def test_each_is_rendered_without_a_literal_left_by_a_valid_path() -> None:
    count = 0
    for example in examples():
        found = [(path, value) for path, value in paths(example.payload) if path != "event_type"]
        template = compile_template(BETWEEN.join(f"{{{path}}}" for path, _value in found))
        pieces = template.render(example.payload, example.event, "r", None).split(BETWEEN)
        for (path, value), piece in zip(found, pieces, strict=True):
            assert piece != f"{{{path}}}", example.event
            if isinstance(value, str):
                assert piece == value
            elif value is None or isinstance(value, int | float):
                assert json.loads(piece) == value
        count += len(found)
    assert count > 50_000
