"""Whatever is sent and whatever is configured: an answer, and nothing kept that was refused."""

import base64
import contextlib
import json
import logging
import time
from collections.abc import Mapping
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deliveries.models import Delivery, Event
from routes import refusals
from routes.inbound import Answer, Inbound, ReadFailed, TooLarge
from routes.models import Refusal, Route, RouteSecret
from routes.parsing import Unparseable, parse_body
from routes.presets import AUTO, presets
from routes.receive import handle
from routes.signatures import sign

from .test_receive import signature

pytestmark = pytest.mark.django_db

SECRET = "canary-secret-of-the-route"
OTHER_PROCESS = 1.1  # seconds after which a change made elsewhere must count


def make_route(name: str = "r", secret: str = SECRET, **fields: Any) -> Route:
    route = Route.objects.create(name=name, **{"rate_limit": 0, **fields})
    if secret:
        RouteSecret.objects.create(route=route, value=secret)
    return route


def ask(
    body: bytes = b"{}",
    headers: Mapping[str, str] | None = None,
    *,
    route: str = "r",
    fault: type[Exception] | None = None,
) -> Answer:
    """Ask the receive path itself; the body is honestly signed where no headers are given."""
    if headers is None:
        headers = {"x-hub-signature-256": signature(body, SECRET)}

    async def read(limit: int) -> bytes:
        if fault:
            raise fault
        if len(body) > limit:
            raise TooLarge
        return body

    answer: Answer = async_to_sync(handle)(
        Inbound("POST", route, headers, read, client="192.0.2.1")
    )
    return answer


# -- Anything at all -----------------------------------------------------------------------

# Text as HTTP gives it: bytes, spelled as latin-1.
wire_text = st.binary(max_size=40).map(lambda raw: raw.decode("latin-1"))
header_names = st.sampled_from(
    sorted(
        {
            "content-length", "content-type", "x-request-id", "user-agent", "x-github-event",
            "x-gitlab-event", "x-gitlab-event-uuid", "idempotency-key", "authorization",
        }
        | {preset.header for preset in presets().values()}
        | {mark for preset in presets().values() for mark in preset.marks}
        | {name for preset in presets().values() for name in preset.id_headers}
        | {p.timestamp.header for p in presets().values() if p.timestamp}
    )
)  # fmt: skip
header_values = st.one_of(
    wire_text,
    st.integers().map(str),
    st.sampled_from(
        ["", "sha256=", "v1,", "9" * 5000, "²", "application/json", "a" * 9000, str(time.time()),
         "application/x-www-form-urlencoded", "Merge Request Hook", "ping", "push", "\x00", "\x85"]
    ),
)  # fmt: skip
leaves = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=9),
    st.sampled_from(["\ud800", "a\0b", 10**400, -(2**63), "{number}", "ping", 1e308]),
)  # fmt: skip
keys = st.sampled_from(["number", "type", "event_type", "action", "object_kind", "", "\0", "a.b"])
payloads = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=5),
    max_leaves=12,
)


def encoded(payload: object, encoding: str, pad: bytes) -> bytes:
    return pad + json.dumps(payload).encode(encoding) + pad


bodies = st.one_of(
    st.binary(max_size=80),
    st.builds(
        encoded, payloads, st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"]),
        st.sampled_from([b"", b" ", b"\n"]),
    ),
    st.builds(
        lambda depth, pad: pad + b"[" * depth + b"]" * depth,
        st.sampled_from([10, 900, 985, 995, 1010, 1024, 3000]),
        st.sampled_from([b"", b" "]),
    ),
    st.sampled_from([b"payload=%7B%7D", b"payload=[", b"a=b&a=c", b"a=%ff", b"=", b"&" * 2000]),
)  # fmt: skip

SOURCES = (AUTO, *presets())
TEMPLATES = {
    "prompt": "{number} {type} {__raw__} {a.b} {event_type}",
    "deliver_extra": {"chat_id": "{number}", "repo": "{type}", "raw": "{__raw__}", "n": 7},
}


@pytest.fixture
def every_source() -> None:
    for source in SOURCES:
        make_route(f"{source}-all", preset=source, **TEMPLATES)
        make_route(f"{source}-some", preset=source, events=["push", "issues.opened"])
    make_route("off", enabled=False)
    make_route("bare", secret="")
    make_route("gone", preset="gone")
    make_route("small", max_body_bytes=8)


@pytest.mark.usefixtures("every_source")
@settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    route=st.sampled_from(
        [f"{source}-{which}" for source in SOURCES for which in ("all", "some")]
        + ["off", "bare", "gone", "small", "nobody", "", "\0", "\ud800"]
    ),
    headers=st.dictionaries(header_names, header_values, max_size=6),
    body=bodies,
    signed_as=st.none() | st.sampled_from(list(presets())),
    words=st.tuples(wire_text, wire_text),
    fault=st.sampled_from([None] * 8 + [TooLarge, ReadFailed]),
)
def test_every_request_has_an_answer_and_every_refusal_a_row(
    route: str,
    headers: dict[str, str],
    body: bytes,
    signed_as: str | None,
    words: tuple[str, str],
    fault: type[Exception] | None,
) -> None:
    if signed_as:
        delivery_id, event = words
        headers |= sign(
            presets()[signed_as], SECRET, body, now=time.time(), delivery_id=delivery_id,
            event=event,
        )  # fmt: skip
    events, last = Event.objects.count(), Refusal.objects.order_by("-pk").first()
    answer = ask(body, headers, route=route, fault=fault)

    assert answer.status in {200, 202, 400, 401, 403, 404, 409, 413}
    assert json.dumps(answer.body)
    assert Event.objects.count() == events + (answer.status == 202)
    assert Delivery.objects.count() == Event.objects.count()
    if answer.status < 400:
        return
    assert set(answer.body) == {"error"}
    kept = Refusal.objects.latest("pk")
    assert last is None or kept.pk > last.pk
    assert (kept.status, kept.client) == (answer.status, "192.0.2.1")
    assert len(bytes(kept.body)) <= refusals.BODY_LIMIT
    assert len(kept.headers) <= 40
    assert Refusal.objects.filter(route=kept.route).count() <= 200
    assert SECRET not in json.dumps(kept.headers) + kept.explanation
    assert SECRET.encode() not in bytes(kept.body)


@settings(max_examples=300, deadline=None)
@given(body=bodies, content_type=wire_text)
def test_parsing_ends_in_data_or_in_unparseable(body: bytes, content_type: str) -> None:
    with contextlib.suppress(Unparseable):
        parse_body(body, content_type)


@pytest.mark.parametrize("length", ["9" * 5000, "1" * 25, "0" * 30 + "9", "²", "-1", "", "x"])
def test_a_length_that_no_body_has_is_no_error_of_ours(length: str) -> None:
    make_route()
    signed = {"x-hub-signature-256": signature(b"{}", SECRET)}
    assert ask(b"{}", {**signed, "content-length": length}).status in (202, 413)


@pytest.mark.parametrize("before", [b"", b" ", b"\xef\xbb\xbf"], ids=["", "space", "mark"])
def test_a_body_of_every_depth_is_taken_or_refused(before: bytes) -> None:
    make_route()
    found = {
        ask(before + left * depth + b"1" + right * depth).status
        for depth in (*range(900, 1030, 7), 5000)
        for left, right in ((b"[", b"]"), (b'{"a":', b"}"))
    }
    assert found <= {202, 400}


# -- What refusals keep --------------------------------------------------------------------


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
