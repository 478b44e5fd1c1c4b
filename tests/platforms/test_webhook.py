import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine

from deliveries.outcomes import Outcome, Verdict
from platforms.senders.webhook import (
    Webhook,
    document,
    github_signature,
    hashee_signature,
    key_of,
    signatures,
)

from .fake import Answer, FakePlatform
from .sender_case import SenderCase, text_message

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
OLD = "whsec_" + base64.b64encode(bytes(range(32, 64))).decode()


class TestWebhook(SenderCase):
    secret = SECRET
    arrived = Answer(200)
    checked = (Answer(200),)

    def make(self, fake: FakePlatform, **config: Any) -> Webhook:
        return Webhook({"url": f"{fake.url}/in?token=querysecret", "secret": SECRET, **config})

    def verified(self, fake: FakePlatform, secret: str) -> bool:
        seen = fake.requests[-1]
        signed = f"{seen.headers['webhook-id']}.{seen.headers['webhook-timestamp']}.".encode()
        digest = hmac.digest(base64.b64decode(secret[6:]), signed + seen.body, hashlib.sha256)
        expected = f"v1,{base64.b64encode(digest).decode()}"
        return expected in seen.headers["webhook-signature"].split(" ")

    def test_the_post_is_signed_as_standard_webhooks_say(self, fake: FakePlatform) -> None:
        fake.script(Answer(200))
        message = text_message("界", created_at=datetime(2026, 11, 20, 21, 3, 8, 5000, UTC))
        self.make(fake).send(message)
        [seen] = fake.requests
        assert (seen.method, seen.path) == ("POST", "/in?token=querysecret")
        assert seen.headers["webhook-id"] == str(message.id)
        assert seen.headers["content-type"] == "application/json"
        assert self.verified(fake, SECRET)
        assert seen.document == {
            "type": "message.new",
            "timestamp": "2026-11-20T21:03:08.005Z",
            "data": {"type": "text", "text": "界"},
        }

    def test_a_retry_has_the_same_id_and_bytes_and_a_new_signature(
        self, fake: FakePlatform
    ) -> None:
        fake.script(Answer(500))
        message = text_message()
        with time_machine.travel(1_800_000_000, tick=True):
            self.make(fake).send(message)
        with time_machine.travel(1_800_000_030, tick=True):
            self.make(fake).send(message)
        first, second = fake.requests
        assert first.body == second.body
        assert first.headers["webhook-id"] == second.headers["webhook-id"]
        assert first.headers["webhook-signature"] != second.headers["webhook-signature"]

    def test_while_a_secret_is_replaced_both_sign(self, fake: FakePlatform) -> None:
        fake.script(Answer(200))
        ends = datetime.now(UTC) + timedelta(hours=1)
        config = {"previous_secret": OLD, "previous_until": ends.isoformat()}
        self.make(fake, **config).send(text_message())
        assert self.verified(fake, SECRET)
        assert self.verified(fake, OLD)

        with time_machine.travel(ends + timedelta(seconds=1), tick=True):
            self.make(fake, **config).send(text_message())
        assert self.verified(fake, SECRET)
        assert not self.verified(fake, OLD)

    def test_other_styles_are_signed_too(self, fake: FakePlatform) -> None:
        fake.script(Answer(200))
        message = text_message()
        self.make(fake, also_sign=["hashee", "github"]).send(message)
        [seen] = fake.requests
        stamp = seen.headers["x-hashee-timestamp"]
        signed = f"{stamp}.{message.id}.".encode() + seen.body
        expected = hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()
        assert seen.headers["x-hashee-signature"] == expected
        assert seen.headers["x-hashee-delivery-id"] == str(message.id)
        body = hmac.new(SECRET.encode(), seen.body, hashlib.sha256).hexdigest()
        assert seen.headers["x-hub-signature-256"] == f"sha256={body}"
        assert self.verified(fake, SECRET)

    @pytest.mark.parametrize(
        ("status", "error_class", "faults"),
        [
            (400, "client_error", False),
            (401, "unauthorized", False),
            (403, "forbidden", False),
            (404, "not_found", False),
            (410, "gone", True),
        ],
    )
    def test_a_refusal_is_final(
        self, fake: FakePlatform, status: int, error_class: str, faults: bool
    ) -> None:
        outcome = self.send(fake, Answer(status))
        assert (outcome.verdict, outcome.error_class) == (Verdict.FAILED, error_class)
        assert outcome.faults_channel == faults

    @pytest.mark.parametrize("status", [200, 201, 202, 204])
    def test_any_2xx_is_a_success(self, fake: FakePlatform, status: int) -> None:
        assert self.send(fake, Answer(status)).verdict == Verdict.DELIVERED

    def test_any_payload_travels(self, fake: FakePlatform) -> None:
        fake.script(Answer(200))
        message = text_message(event_type="reaction.added", payload={"emoji": "👍", "n": [1, None]})
        assert self.make(fake).send(message).verdict == Verdict.DELIVERED
        assert fake.documents[0]["data"] == {"emoji": "👍", "n": [1, None]}

    @pytest.mark.parametrize("text", ["", "x" * 1_048_576, "😀" * 100_000, "half \ud83d pair"])
    def test_a_text_travels_whole(self, fake: FakePlatform, text: str) -> None:
        outcome = self.send(fake, Answer(200), text=text)
        assert outcome.verdict == Verdict.DELIVERED
        expected = text.encode("utf-8", "replace").decode()
        assert fake.documents[0]["data"]["text"] == expected
        assert len(outcome.request) <= 4096

    def test_what_the_address_carries_in_its_query_is_kept_out(self, fake: FakePlatform) -> None:
        outcome: Outcome = self.send(fake, Answer(500, {}, b"querysecret"))
        assert "querysecret" not in repr(outcome)

    def test_the_check_is_a_signed_ping(self, fake: FakePlatform) -> None:
        fake.script(Answer(200))
        self.make(fake).check()
        assert self.verified(fake, SECRET)
        assert fake.documents[0]["type"] == "ping"


def test_the_vectors_of_the_three_styles() -> None:
    secret = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTAwMDE="
    delivery_id, stamp = "01930b1e-7c00-7000-8000-000000000001", 1731200000
    body = b'{"type":"message.new","version":"v1"}'
    assert hashee_signature(delivery_id, stamp, body, secret)["X-Hashee-Signature"] == (
        "d5c5556363b7fcb5cb4463209a0ce9e9febc4866ac417fe7c4b91788ce31a48b"
    )
    assert signatures(delivery_id, stamp, body, [secret])["webhook-signature"] == (
        "v1,su+e2Q2yaTkhUVgwrDq2eq75Z01laSQfqbvBVuB/l8k="
    )
    assert github_signature(body, secret)["X-Hub-Signature-256"] == (
        "sha256=6b577863e5022192730e652cb106be652632a41be03b50003f60b6414629ad00"
    )


def test_the_bodys_time_is_utc_with_milliseconds() -> None:
    at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert json.loads(document("a", at, {}))["timestamp"] == "2026-01-02T03:04:05.000Z"


def test_an_empty_secret_is_generated() -> None:
    config = Webhook.prepare_config({}, {"url": "https://example.com/", "secret": ""})
    assert config["secret"].startswith("whsec_")
    assert len(key_of(config["secret"])) == 32


def test_a_stored_secret_stays_when_the_form_leaves_it_empty() -> None:
    stored = {"url": "https://example.com/", "secret": SECRET}
    assert Webhook.prepare_config(stored, {"secret": ""})["secret"] == SECRET


@pytest.mark.parametrize("form", [{"secret": SECRET}, {"secret": "", "new_secret": True}])
def test_a_replaced_secret_signs_on_for_a_day(form: dict[str, Any]) -> None:
    stored = {"url": "https://example.com/", "secret": OLD}
    config = Webhook.prepare_config(stored, form)
    assert config["secret"] != OLD
    sender = Webhook(config)
    assert sender.signing_secrets() == [config["secret"], OLD]
    with time_machine.travel(datetime.now(UTC) + timedelta(hours=25)):
        assert sender.signing_secrets() == [config["secret"]]
        # What it said in its time may still come back in a reply.
        assert OLD in sender.secrets()


@pytest.mark.parametrize(
    ("secret", "good"),
    [
        (SECRET, True),
        (SECRET.removeprefix("whsec_"), True),
        ("", True),
        ("whsec_" + base64.b64encode(b"x" * 23).decode(), False),
        ("whsec_" + base64.b64encode(b"x" * 65).decode(), False),
        ("whsec_not base64!", False),
        ("pässwörd", False),
    ],
)
def test_the_form_knows_a_secret(settings: Any, secret: str, good: bool) -> None:
    settings.OUTBOUND_ALLOW_PRIVATE = True
    form = Webhook.Config({"url": "http://127.0.0.1:9/in", "secret": secret})
    assert form.is_valid() == good


def test_the_form_refuses_an_address_inside() -> None:
    form = Webhook.Config({"url": "http://169.254.169.254/latest", "secret": ""})
    assert not form.is_valid()
    assert "url" in form.errors
