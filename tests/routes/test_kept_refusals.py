"""What is kept of hostile requests: enough to see why, and no secret."""

import base64
import json
import logging
from typing import Any

import pytest

from routes import refusals
from routes.inbound import ReadFailed, TooLarge
from routes.models import Refusal

from .test_hostile import SECRET, ask, make_route
from .test_receive import signature

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    "body",
    [
        b"no json, but " + SECRET.encode(),
        b"x" * (refusals.BODY_LIMIT - 9) + SECRET.encode() + b"x" * 99,
        b"{no json: " + base64.b64encode(SECRET.encode()),
    ],
    ids=["plain", "across the cut", "base64"],
)
def test_the_secret_in_a_signed_body_that_cannot_be_read_is_not_kept(body: bytes) -> None:
    make_route()
    assert ask(body).status == 400
    kept = bytes(Refusal.objects.get().body)
    assert SECRET.encode()[:9] not in kept
    assert base64.b64encode(SECRET.encode()) not in kept
    assert len(kept) <= refusals.BODY_LIMIT


def test_the_secret_in_the_body_of_a_conflict_is_not_kept() -> None:
    make_route()
    for body in (b"{}", b'{"secret": "%s"}' % SECRET.encode()):
        signed = {"x-hub-signature-256": signature(body, SECRET), "x-github-delivery": "one"}
        answer = ask(body, signed)
    assert answer.status == 409
    assert SECRET.encode() not in bytes(Refusal.objects.get().body)


@pytest.mark.parametrize(
    ("fields", "fault"),
    [({"enabled": False}, None), ({}, TooLarge), ({}, ReadFailed), ({"preset": "gone"}, None)],
)
def test_the_secret_in_some_header_is_not_kept(
    fields: dict[str, Any], fault: type[Exception] | None
) -> None:
    make_route(**fields)
    ask(b"{}", {"x-custom": f"a {SECRET} b"}, fault=fault)
    assert SECRET not in json.dumps(Refusal.objects.get().headers)


def test_a_refused_signature_is_in_the_log_in_the_specifications_words(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Spec 001, troubleshooting: look for "Invalid signature" in the gateway's log."""
    make_route()
    with caplog.at_level(logging.WARNING):
        ask(SECRET.encode(), {"x-hub-signature-256": "sha256=00"})
    assert "Invalid signature" in caplog.text
    assert "route r" in caplog.text
    assert SECRET not in caplog.text


def test_a_flood_of_refusals_writes_few_rows_and_few_lines(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    make_route()
    monkeypatch.setattr(refusals, "FLUSH_SECONDS", 3600)
    refusals._flush()
    for number in range(200):
        ask(b"{}", {"x-hub-signature-256": f"sha256={number}"})
    refusals._flush()
    assert Refusal.objects.count() <= refusals.WAITING_PER_ROUTE
    assert len(caplog.records) <= refusals.WAITING_PER_ROUTE + 2
