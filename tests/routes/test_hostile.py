"""Whatever is sent and whatever is configured: an answer, and nothing kept that was refused."""

import base64
import contextlib
import json
import logging
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from asgiref.sync import async_to_sync
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pytest_django import Settings

from agents.models import Agent
from deliveries.models import Delivery, Event
from platforms.models import Channel
from routes import config_files, refusals, table, versions
from routes.models import Refusal, Route, RouteSecret
from routes.parsing import Unparseable, parse_body
from routes.presets import AUTO, presets
from routes.receive import Answer, ReadFailed, TooLarge, accept
from routes.signatures import sign

from .test_receive import signature

pytestmark = pytest.mark.django_db

SECRET = "canary-secret-of-the-route"
OTHER_PROCESS = 1.1  # seconds after which a change made elsewhere must count


@pytest.fixture(autouse=True)
def _write_refusals_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals, "FLUSH_SECONDS", 0)


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

    answer: Answer = async_to_sync(accept)(route, headers, read, "192.0.2.1")
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


# -- What changes while it runs ------------------------------------------------------------


def test_an_edit_in_this_process_counts_for_the_next_request() -> None:
    route = make_route(events=["push"])
    assert ask().body["status"] == "ignored"
    route.events = []
    route.save()
    assert ask().status == 202
    route.enabled = False
    route.save()
    assert ask().status == 403
    route.delete()
    assert ask().status == 404


def test_an_edit_by_another_process_counts_within_a_second() -> None:
    route = make_route()
    assert ask().status == 202
    # Past this process' own count of changes, as another process would.
    Route.objects.filter(pk=route.pk).update(enabled=False)
    bump_version_elsewhere()
    time.sleep(OTHER_PROCESS)
    assert ask(b'{"n": 2}').status == 403


def bump_version_elsewhere() -> None:
    before = versions._changes
    versions.bump_version()
    versions._changes = before


def test_a_new_secret_counts_at_once_and_an_ended_one_no_more() -> None:
    route = make_route(secret="old")
    assert ask().status == 401
    RouteSecret.objects.create(route=route, value=SECRET)
    assert ask().status == 202
    now = timezone.now()
    for one in route.secrets.all():
        one.not_after = now + timedelta(minutes=5)
        one.save()
    with time_machine.travel(now + timedelta(minutes=4, seconds=59)):
        assert ask(b'{"n": 2}').status == 202
    with time_machine.travel(now + timedelta(minutes=5, seconds=1)):
        if table._table:
            table._table.checked = 0
        assert ask(b'{"n": 3}').status in (401, 403)


def test_a_route_that_lost_its_channel_says_so_and_keeps_its_ids() -> None:
    channel = Channel.objects.create(name="place", kind="webhook")
    make_route(deliver="place", deliver_only=True)
    channel.delete()
    answer = ask()
    assert (answer.status, answer.body) == (503, {"error": "Route has no destination"})
    assert answer.headers["Retry-After"]
    assert "place" in Refusal.objects.get().explanation
    assert not Event.objects.exists()


def test_without_a_default_agent_the_routes_that_name_none_say_so() -> None:
    agent = Agent.objects.create(name="named")
    make_route()
    make_route("named", agent=agent)
    make_route("direct", deliver="log", deliver_only=True)
    default = Agent.objects.get(is_default=True)
    default.is_default = False
    default.save()
    answer = ask()
    assert (answer.status, answer.body) == (503, {"error": "Route has no destination"})
    assert "agent" in Refusal.objects.get().explanation
    assert ask(route="named").status == 202


def test_a_secret_that_no_key_opens_takes_down_no_more_than_an_answer(
    caplog: pytest.LogCaptureFixture,
) -> None:
    make_route()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE routes_routesecret SET value = 'no ciphertext'")
    versions.bump_version()
    answer = ask()
    assert answer.status == 503
    assert "no ciphertext" not in caplog.text


# -- config.yaml ---------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path: Path, settings: Settings) -> Path:
    settings.HERMES_HOME = str(tmp_path)
    return tmp_path


def write_config(home: Path, text: str) -> None:
    (home / "config.yaml").write_text(text)
    config_files._read = (config_files._UNREAD, config_files.ConfigFile())
    if table._table:
        table._table.checked = 0


def test_a_change_of_the_file_counts_within_a_second(home: Path) -> None:
    text = "webhooks: {routes: {r: {secret: %s}}}"
    write_config(home, text % SECRET)
    assert ask().status == 202
    (home / "config.yaml").write_text(text % "another-one")
    time.sleep(OTHER_PROCESS)
    assert ask(b'{"n": 2}').status == 401
    (home / "config.yaml").write_text("{}")
    time.sleep(OTHER_PROCESS)
    assert ask(b'{"n": 3}').status == 404


@pytest.mark.parametrize(
    "entry",
    [
        "deliver_extra: {chat_id: .nan}",
        "deliver_extra: {chat_id: .inf}",
        'deliver_extra: {chat_id: ["a\\0b"]}',
        'deliver_extra: {chat_id: ["\\ud800"]}',
        "deliver_extra: {chat_id: 99999999999999999999999}",
        "deliver_extra: {since: 2024-01-01}",
        'prompt: "\\ud800"',
        'prompt: "a\\0b"',
        'events: ["a\\0b"]',
        'skills: ["\\ud800"]',
        'description: "\\0"',
        'secret: "a\\0b\\ud800"',
        "rate_limit: 99999999999999999999999",
        "rate_limit: -1",
        "events: {a: b}",
        "prompt: [1]",
    ],
)
def test_an_entry_that_no_database_takes_is_left_out_and_the_others_go_on(
    home: Path, entry: str
) -> None:
    write_config(
        home,
        f"webhooks:\n  routes:\n    bad:\n      {entry}\n    r:\n      secret: {SECRET}\n",
    )
    assert ask().status == 202
    assert ask(route="bad").status in (401, 403, 404)


@pytest.mark.parametrize("text", ["a: [", "\0", "- 1", "webhooks: 7", "webhooks: {routes: [1]}"])
def test_a_file_that_is_broken_changes_nothing(home: Path, text: str) -> None:
    make_route()
    write_config(home, text)
    assert ask().status == 202


# -- What stops the start ------------------------------------------------------------------


def start_refused() -> str:
    with pytest.raises(CommandError) as refused:
        call_command("check", databases=["default"])
    return str(refused.value)


def test_a_route_without_a_secret_stops_the_start_by_name() -> None:
    make_route("forgotten", secret="")
    assert "forgotten" in start_refused()


@pytest.mark.parametrize("blank", [" ", "\t\n"])
def test_a_secret_of_white_space_is_none(blank: str, settings: Settings) -> None:
    settings.WEBHOOK_SECRET = blank
    make_route("forgotten", secret="")
    assert "forgotten" in start_refused()


def test_unsigned_requests_on_a_public_address_stop_the_start_by_name(settings: Settings) -> None:
    settings.WEBHOOK_HOST = "0.0.0.0"
    make_route("open-door", secret="", insecure_no_auth=True)
    assert "open-door" in start_refused()


def test_unsigned_requests_on_a_public_address_are_refused_while_it_runs(
    settings: Settings,
) -> None:
    settings.WEBHOOK_HOST = "0.0.0.0"
    settings.WEBHOOK_SECRET = "INSECURE_NO_AUTH"
    make_route(secret="", insecure_no_auth=True)
    assert ask(b"{}", {}).status == 403
    assert ask(b"{}", {"x-gitlab-token": "INSECURE_NO_AUTH"}).status == 403


def test_a_direct_delivery_to_the_log_stops_the_start_by_name() -> None:
    make_route("to-nowhere", deliver_only=True)
    assert "to-nowhere" in start_refused()


def test_a_disabled_route_stops_nothing() -> None:
    make_route("forgotten", secret="", enabled=False)
    call_command("check", databases=["default"])


# -- Django's own way in -------------------------------------------------------------------


def test_under_another_server_the_same_answers_are_given() -> None:
    """`runserver` and WSGI come through Django's request, not through the lean one."""
    make_route()
    body = b'{"a": 1}'
    headers = {"X-Hub-Signature-256": signature(body, SECRET), "X-GitHub-Delivery": "é"}
    answer = Client().post("/webhooks/r", body, content_type="application/json", headers=headers)
    assert (answer.status_code, answer.json()["delivery_id"]) == (202, "é")


def test_a_name_that_is_no_text_is_404() -> None:
    assert Client().post("/webhooks/%ff%00").status_code == 404
