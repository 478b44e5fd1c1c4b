"""Apprise, faked below `requests`: its services have fixed addresses."""

import io
import logging
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
import responses

from deliveries.outcomes import Verdict
from platforms.registry import senders
from platforms.senders.apprise import NATIVE, SCHEMAS, Apprise

from .sender_case import text_message

apprise = pytest.importorskip("apprise", reason="NO APPRISE: its sender is not tested")

USER, TOKEN = "u" * 30, "a" * 30
URL = f"pover://{USER}@{TOKEN}/phone1"
PUSHOVER = "https://api.pushover.net/1/messages.json"
DELIVERED, RETRY, FAILED = Verdict.DELIVERED, Verdict.RETRY, Verdict.FAILED


@pytest.fixture
def wire() -> Any:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as wire:
        yield wire


def answer(wire: Any, status: int = 200, body: str = '{"status": 1}') -> None:
    wire.add("POST", PUSHOVER, status=status, body=body)


def forms(wire: Any) -> list[dict[str, str]]:
    return [
        {name: values[0] for name, values in parse_qs(call.request.body).items()}
        for call in wire.calls
    ]


def bare(text: str) -> str:
    return re.sub(r"\n\(\d+/\d+\)\Z", "", text)


def test_a_message_goes_out_as_plain_text_under_our_name(wire: Any) -> None:
    answer(wire)
    outcome = Apprise({"url": URL}).send(text_message("**Deploy** 完成 😀\nof `main` \\n & more"))
    assert outcome.verdict == DELIVERED
    [form] = forms(wire)
    assert form["message"] == "Deploy 完成 😀\nof main \\n & more"
    assert form["title"] == "Hermes"
    assert (form["user"], form["token"], form["device"]) == (USER, TOKEN, "phone1")
    assert outcome.request == "apprise pover://"


def test_a_target_may_have_a_title(wire: Any) -> None:
    answer(wire)
    Apprise({"url": URL}).send(text_message(target={"title": "Doorbell"}))
    Apprise({"url": URL}).send(text_message(target={"title": "{x}"}))
    assert [form["title"] for form in forms(wire)] == ["Doorbell", "Hermes"]


@pytest.mark.parametrize(
    ("status", "verdict", "error_class", "faults", "ambiguous"),
    [
        (302, FAILED, "redirected", True, False),
        (400, FAILED, "client_error", False, False),
        (401, FAILED, "unauthorized", True, False),
        (403, FAILED, "forbidden", True, False),
        (404, FAILED, "not_found", False, False),
        (408, RETRY, "temporary", False, False),
        (422, FAILED, "client_error", False, False),
        (429, RETRY, "rate_limited", False, False),
        (500, RETRY, "server_error", False, False),
        (502, RETRY, "server_error", False, True),
        (503, RETRY, "server_error", False, False),
    ],
)
def test_the_status_in_its_words_becomes_a_verdict(
    wire: Any, status: int, verdict: Verdict, error_class: str, faults: bool, ambiguous: bool
) -> None:
    wire.add("POST", PUSHOVER, status=status, headers={"Location": "https://elsewhere.example/"})
    outcome = Apprise({"url": URL}).send(text_message())
    assert (outcome.verdict, outcome.error_class) == (verdict, error_class)
    assert (outcome.faults_channel, outcome.ambiguous) == (faults, ambiguous)
    assert outcome.status == status
    assert f"error={status}" in outcome.response
    assert len(wire.calls) == 1


@pytest.mark.parametrize(
    "error",
    [
        requests.ConnectionError("refused"),
        requests.ReadTimeout("late"),
        requests.exceptions.SSLError,
    ],
)
def test_a_call_that_failed_may_have_arrived(wire: Any, error: Any) -> None:
    wire.add("POST", PUSHOVER, body=error if isinstance(error, Exception) else error("bad"))
    outcome = Apprise({"url": URL}).send(text_message())
    assert (outcome.verdict, outcome.error_class) == (RETRY, "temporary")
    assert outcome.ambiguous


def test_a_service_that_drips_does_not_outlast_the_budget(wire: Any) -> None:
    def slowly(_request: Any) -> tuple[int, dict[str, str], str]:
        time.sleep(1)
        return 200, {}, "{}"

    wire.add_callback("POST", PUSHOVER, slowly)
    sender = Apprise({"url": URL})
    sender.budget = 0.3
    started = time.monotonic()
    outcome = sender.send(text_message())
    assert time.monotonic() - started < 0.9
    assert (outcome.verdict, outcome.error_class) == (RETRY, "timeout")
    assert outcome.ambiguous
    time.sleep(0.8)  # what timed out goes on in a thread of Apprise's


@pytest.mark.parametrize("status", [429, 500])
def test_the_third_failure_is_the_last(wire: Any, status: int) -> None:
    answer(wire, status)
    assert Apprise({"url": URL}).send(text_message(number=2)).verdict == RETRY
    assert Apprise({"url": URL}).send(text_message(number=3)).verdict == FAILED


@pytest.mark.parametrize("character", ["x", "界", "😀"])
def test_a_text_is_split_at_the_services_own_limit(wire: Any, character: str) -> None:
    answer(wire)
    text = character * 1024
    assert Apprise({"url": URL}).send(text_message(text)).verdict == DELIVERED
    assert Apprise({"url": URL}).send(text_message(text + character)).verdict == DELIVERED
    whole, first, second = [form["message"] for form in forms(wire)]
    assert whole == text
    assert bare(first) + bare(second) == text + character
    assert max(map(len, (first, second))) <= 1024


def test_a_megabyte_of_text_is_cut_after_ten_parts(wire: Any) -> None:
    answer(wire)
    started = time.monotonic()
    assert Apprise({"url": URL}).send(text_message("word " * 210_000)).verdict == DELIVERED
    assert time.monotonic() - started < 5  # Apprise would wait 5.5 s before each but the first
    assert len(wire.calls) == 10
    assert "left out" in forms(wire)[-1]["message"]


def test_what_is_paid_by_the_piece_is_cut_after_three(wire: Any) -> None:
    wire.add("POST", "https://gateway.seven.io/api/sms", body="100")
    sender = Apprise({"url": f"seven://{TOKEN}/15551234567"})
    sender.send(text_message("word " * 1000))
    assert len(wire.calls) == 3


def test_a_retry_goes_on_at_the_part_that_failed(wire: Any) -> None:
    answer(wire)
    answer(wire, 429)
    message = text_message("word " * 500)
    failed = Apprise({"url": URL}).send(message)
    assert failed.verdict == RETRY
    assert failed.progress["parts_sent"] == 1
    wire.reset()
    answer(wire)
    again = Apprise({"url": URL}).send(replace(message, progress=failed.progress))
    assert again.verdict == DELIVERED
    assert "(2/3)" in forms(wire)[0]["message"]
    assert len(wire.calls) == 2


@pytest.mark.parametrize("text", ["", " \n"])
def test_a_message_without_text_is_refused_without_a_call(wire: Any, text: str) -> None:
    outcome = Apprise({"url": URL}).send(text_message(text))
    assert (outcome.verdict, outcome.error_class) == (FAILED, "empty_message")
    assert len(wire.calls) == 0


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """All that the root logger gets; caplog listens at loggers that keep to themselves, too."""
    text = io.StringIO()
    handler, root = logging.StreamHandler(text), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield text
    root.setLevel(level)
    root.removeHandler(handler)


@pytest.mark.parametrize("status", [200, 400, 401, 500])
def test_no_piece_of_the_address_is_kept(wire: Any, log: io.StringIO, status: int) -> None:
    answer(wire, status, f"unknown: {TOKEN} {USER}")
    sender = Apprise({"url": f"pover://{USER}@{TOKEN}"})
    said = repr(sender.send(text_message())) + repr(sender.check()) + log.getvalue()
    assert TOKEN not in said
    assert USER not in said


def test_every_piece_of_the_address_is_a_secret() -> None:
    url = "sendgrid://SG.abc%2Bdef:me@example.com/you@example.org?template=tmpl-1234"
    secrets = Apprise({"url": url}).secrets()
    assert {url, "SG.abc%2Bdef", "SG.abc+def", "example.com", "example.org", "tmpl-1234"} <= set(
        secrets
    )
    assert Apprise({"url": url}).called_address() == "sendgrid://…"


def test_an_address_does_not_decide_the_rules_of_the_house(wire: Any) -> None:
    seen = []

    def look(request: Any) -> tuple[int, dict[str, str], str]:
        seen.append(request.req_kwargs)
        return 500, {}, ""

    wire.add_callback("POST", PUSHOVER, look)
    # A redirect has a line in the table above.
    loose = "?verify=no&redirect=yes&retry=5&rto=300&cto=300&overflow=upstream"
    assert Apprise({"url": URL + loose}).send(text_message()).verdict == RETRY
    [kwargs] = seen
    assert kwargs["verify"] is not False
    assert kwargs["timeout"] == (4.0, 4.0)


def test_the_check_sends_a_test_message(wire: Any) -> None:
    answer(wire)
    check = Apprise({"url": URL}).check()
    assert check.ok
    assert "Pushover" in check.detail
    assert "test message" in forms(wire)[0]["message"]


@pytest.mark.parametrize("status", [400, 500])
def test_a_check_that_finds_something_wrong_says_what(wire: Any, status: int) -> None:
    answer(wire, status)
    check = Apprise({"url": URL}).check()
    assert not check.ok
    assert str(status) in check.detail


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("", "required"),
        ("pover", "not allowed"),
        ("json://10.0.0.1/", "kind webhook"),
        ("gotify://10.0.0.1/token", "not allowed"),
        ("syslog://", "not allowed"),
        ("dbus://", "not allowed"),
        ("file:///etc/passwd", "not allowed"),
        ("fcm://project/?keyfile=/etc/passwd", "not allowed"),
        ("DingTalk://abc/", "kind dingtalk"),
        ("feishu://abc/", "kind feishu"),
        ("lark://abc/", "kind feishu"),
        ("wecombot://abc/", "kind wecom"),
        ("pover://short", "cannot read"),
        (f"seven://{TOKEN}/15551234567/15551234568", "several targets"),
    ],
)
def test_the_form_refuses_what_is_not_to_be_used(url: str, word: str) -> None:
    form = Apprise.Config({"url": url})
    assert not form.is_valid()
    assert word in str(form.errors["url"])
    if url:
        outcome = Apprise({"url": url}).send(text_message())
        assert (outcome.verdict, outcome.faults_channel) == (FAILED, True)
        assert not Apprise({"url": url}).check().ok


def test_the_form_takes_a_good_address() -> None:
    assert Apprise.Config({"url": URL}).is_valid()
    assert "not installed" not in str(Apprise.Config.base_fields["url"].help_text)


def test_without_an_address_the_channel_is_flagged() -> None:
    outcome = Apprise({}).send(text_message())
    assert (outcome.verdict, outcome.faults_channel) == (FAILED, True)
    assert not Apprise({}).check().ok


def test_without_the_library_form_and_channel_say_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    form = Apprise.Config({"url": URL})
    assert not form.is_valid()
    assert "pip install" in str(form.errors["url"])
    assert "not installed" in str(Apprise.Config.base_fields["url"].help_text)
    outcome = Apprise({"url": URL}).send(text_message())
    assert (outcome.verdict, outcome.error_class) == (FAILED, "not_installed")
    assert outcome.faults_channel
    assert "pip install" in Apprise({"url": URL}).check().detail


@pytest.mark.parametrize("schema", sorted(SCHEMAS))
def test_every_schema_goes_to_a_fixed_address_over_tls(schema: str) -> None:
    from apprise.manager_plugins import NotificationManager

    manager = NotificationManager()
    plugin = manager[schema]
    address = str(plugin.notify_url).replace("{schema}", "https")
    parts = urlsplit(address)
    assert parts.scheme == "https"
    assert parts.hostname
    assert "{" not in parts.netloc
    assert not any("{host}" in template for template in plugin.templates)


@pytest.mark.parametrize(("schema", "kind"), NATIVE.items())
def test_what_is_said_to_have_a_sender_has_one(schema: str, kind: str) -> None:
    assert schema not in SCHEMAS
    assert kind in senders()
