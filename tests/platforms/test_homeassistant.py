from typing import Any, ClassVar

import pytest

from deliveries.outcomes import Verdict
from platforms.senders.homeassistant import HomeAssistant

from .fake import Answer, FakePlatform
from .sender_case import TextSenderCase, text_message

TOKEN = ".".join(("eyJhbGciOiJIUzI1NiJ9", "eyJpc3MiOiJhYmMifQ", "sIgNaTuRe-_0123456789"))
OK = Answer.json(200, [])
RUNS = Answer.json(200, {"message": "API running."})
SERVICES = Answer.json(
    200,
    [
        {"domain": "light", "services": {"turn_on": {}}},
        {"domain": "notify", "services": {"notify": {}, "mobile_app_phone": {}}},
    ],
)
DELIVERED, RETRY, FAILED = Verdict.DELIVERED, Verdict.RETRY, Verdict.FAILED


class TestHomeAssistant(TextSenderCase):
    secret = TOKEN
    target: ClassVar = {"service": "notify.mobile_app_phone"}
    arrived = OK
    checked = (RUNS,)

    def make(self, fake: FakePlatform, **home: str) -> HomeAssistant:
        return HomeAssistant({"url": f"{fake.url}/", "token": TOKEN}, home)

    def texts(self, fake: FakePlatform) -> list[str]:
        return [document["message"] for document in fake.documents]

    def test_an_address_inside_is_refused_and_flags_the_channel(
        self, fake: FakePlatform, settings: Any
    ) -> None:
        # It lives at home; what is refused are the addresses that nobody's home is at.
        settings.OUTBOUND_ALLOW_PRIVATE = False
        assert self.send(fake, OK).verdict == DELIVERED
        sender = HomeAssistant({"url": "http://169.254.169.254", "token": TOKEN})
        outcome = sender.send(self.message())
        assert (outcome.verdict, outcome.error_class) == (FAILED, "blocked")
        assert outcome.faults_channel

    @pytest.mark.parametrize(
        "body", [b"<html>Log in</html>", b'[{"ent', b"", b"\xff\xfe\x00", b"{}", b"null", b'"x"']
    )
    def test_a_success_that_cannot_be_read_is_none(self, fake: FakePlatform, body: bytes) -> None:
        outcome = self.send(fake, Answer(200, {"Content-Type": "text/html"}, body))
        assert (outcome.verdict, outcome.error_class) == (RETRY, "bad_reply")
        assert outcome.ambiguous

    def test_an_unrendered_placeholder_is_nowhere_to_go(self, fake: FakePlatform) -> None:
        assert self.send(fake, OK, target={"service": "{a.b}"}).verdict == DELIVERED
        assert fake.requests[0].path == "/api/services/persistent_notification/create"

    def test_without_a_service_it_is_shown_in_the_panel(self, fake: FakePlatform) -> None:
        fake.script(OK)
        message = text_message("**Deploy** 界")
        assert self.make(fake).send(message).verdict == DELIVERED
        [seen] = fake.requests
        assert (seen.method, seen.path) == (
            "POST",
            "/api/services/persistent_notification/create",
        )
        assert seen.headers["authorization"] == f"Bearer {TOKEN}"
        assert seen.document == {
            "message": "**Deploy** 界",
            "title": "Hermes",
            "notification_id": f"hermes_{message.id}_1",
        }

    def test_a_repeat_replaces_the_note_in_the_panel(self, fake: FakePlatform) -> None:
        fake.script(OK)
        message = text_message("word " * 500)
        self.make(fake).send(message)
        self.make(fake).send(message)
        ids = [document["notification_id"] for document in fake.documents]
        assert ids == [f"hermes_{message.id}_1", f"hermes_{message.id}_2"] * 2

    def test_a_service_gets_plain_text(self, fake: FakePlatform) -> None:
        self.send(fake, OK, text="**Deploy** of `main`")
        [seen] = fake.requests
        assert seen.path == "/api/services/notify/mobile_app_phone"
        assert seen.document == {"message": "Deploy of main", "title": "Hermes"}

    @pytest.mark.parametrize(
        ("target", "home", "path", "facts"),
        [
            ({"service": "notify"}, {}, "notify/notify", {}),
            ({}, {"service": "notify.tv"}, "notify/tv", {}),
            (
                {"chat_id": "phone"},
                {"service": "notify.tv", "chat_id": "tablet"},
                "notify/tv",
                {"target": ["phone"]},
            ),
            (
                {"chat_id": "{x}"},
                {"service": "notify.tv", "chat_id": "tablet"},
                "notify/tv",
                {"target": ["tablet"]},
            ),
            ({"service": "sms"}, {"service": "tv", "chat_id": "tablet"}, "notify/sms", {}),
            (
                {"service": "notify.send_message", "chat_id": "notify.kitchen"},
                {},
                "notify/send_message",
                {"entity_id": "notify.kitchen"},
            ),
            ({"service": "notify", "title": "Build"}, {}, "notify/notify", {"title": "Build"}),
            ({"service": "persistent_notification"}, {}, "persistent_notification/create", {}),
        ],
    )
    def test_where_a_message_goes(
        self,
        fake: FakePlatform,
        target: dict[str, str],
        home: dict[str, str],
        path: str,
        facts: dict[str, Any],
    ) -> None:
        fake.script(OK)
        self.make(fake, **home).send(text_message(target=target))
        [seen] = fake.requests
        assert seen.path == f"/api/services/{path}"
        document = seen.document
        document.pop("notification_id", None)
        assert document == {"message": "Hello", "title": "Hermes", **facts}

    @pytest.mark.parametrize(
        ("target", "error_class"),
        [
            ({"service": "light.turn_on"}, "bad_target"),
            ({"service": "notify/../light"}, "bad_target"),
            ({"service": "notify", "chat_id": "a b"}, "bad_target"),
            ({"service": "notify.send_message"}, "no_destination"),
        ],
    )
    def test_a_target_that_it_cannot_have_is_refused_without_a_call(
        self, fake: FakePlatform, target: dict[str, str], error_class: str
    ) -> None:
        outcome = self.make(fake).send(text_message(target=target))
        assert (outcome.verdict, outcome.error_class) == (FAILED, error_class)
        assert fake.requests == []

    @pytest.mark.parametrize(
        ("status", "verdict", "error_class", "faults"),
        [
            (400, FAILED, "client_error", False),
            (401, FAILED, "unauthorized", True),
            (403, FAILED, "forbidden", True),
            (404, FAILED, "not_found", False),
            (405, FAILED, "client_error", False),
            (500, RETRY, "server_error", False),
            (503, RETRY, "server_error", False),
        ],
    )
    def test_what_it_says_becomes_a_verdict(
        self,
        fake: FakePlatform,
        status: int,
        verdict: Verdict,
        error_class: str,
        faults: bool,
    ) -> None:
        outcome = self.send(fake, Answer.json(status, {"message": "Says why"}))
        assert (outcome.verdict, outcome.error_class) == (verdict, error_class)
        assert outcome.faults_channel == faults
        assert "Says why" in outcome.error

    def test_a_service_that_fails_twice_is_believed(self, fake: FakePlatform) -> None:
        assert self.send(fake, Answer(500)).verdict == RETRY
        outcome = self.send(fake, Answer(500), number=2)
        assert (outcome.verdict, outcome.error_class) == (FAILED, "server_error")
        assert self.send(fake, Answer(503), number=2).verdict == RETRY

    @pytest.mark.parametrize("service", ["notify.mobile_app_phone", "mobile_app_phone"])
    def test_the_check_looks_for_the_service(self, fake: FakePlatform, service: str) -> None:
        fake.script(RUNS, SERVICES)
        check = self.make(fake, service=service).check()
        assert check.ok
        assert "mobile_app_phone" in check.detail
        assert [seen.path for seen in fake.requests] == ["/api/", "/api/services"]

    @pytest.mark.parametrize(
        "services",
        [
            SERVICES,
            Answer.json(200, [{"domain": "notify", "services": 5}]),
            Answer.json(200, {"message": "?"}),
            Answer(500),
        ],
    )
    def test_the_check_says_when_the_service_is_not_there(
        self, fake: FakePlatform, services: Answer
    ) -> None:
        fake.script(RUNS, services)
        check = self.make(fake, service="notify.tv").check()
        assert not check.ok
        assert check.detail


@pytest.mark.parametrize("config", [{}, {"url": "http://home.example:8123"}])
def test_without_a_token_the_channel_is_flagged(config: dict[str, str]) -> None:
    outcome = HomeAssistant(config).send(text_message())
    assert (outcome.verdict, outcome.error_class) == (FAILED, "unauthorized")
    assert outcome.faults_channel
    assert not HomeAssistant(config).check().ok


@pytest.mark.parametrize(
    ("config", "good"),
    [
        ({"url": "http://192.168.1.7:8123", "token": TOKEN}, True),
        ({"url": "https://93.184.216.34", "token": TOKEN}, True),
        ({"url": "http://169.254.169.254", "token": TOKEN}, False),
        ({"url": "ftp://192.168.1.7", "token": TOKEN}, False),
        ({"url": "http://192.168.1.7:8123", "token": "abc"}, False),
        ({"token": TOKEN}, False),
    ],
)
def test_the_form_knows_an_address_and_a_token(config: dict[str, str], good: bool) -> None:
    assert HomeAssistant.Config(config).is_valid() == good


@pytest.mark.parametrize(
    ("home", "good"),
    [
        ({"service": "notify.mobile_app_phone", "chat_id": "notify.kitchen"}, True),
        ({}, True),
        ({"service": "light.turn_on"}, False),
        ({"chat_id": "a b"}, False),
    ],
)
def test_the_form_knows_a_service(home: dict[str, str], good: bool) -> None:
    assert HomeAssistant.Home(home).is_valid() == good


def test_a_stored_token_does_not_follow_to_another_address() -> None:
    stored = {"url": "http://a.example", "token": TOKEN}
    assert HomeAssistant.prepare_config(stored, {"url": "http://b.example", "token": ""}) == {
        "url": "http://b.example"
    }
