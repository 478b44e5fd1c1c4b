"""What a closer look at a refused request finds, and that it stays cheap and quiet."""

import base64
import hmac
import json
from itertools import count
from urllib.parse import urlencode

import pytest

from routes.presets import Preset, presets
from routes.signatures import POSTED, Address, Refused, Verifier, sign, sign_request
from routes.signatures.doctor import MAX_BODY_BYTES, Pace

from .verifying import SECRET, source

BODY = b'{"event": "ping", "who": "\xc3\xa9", "url": "https://a.example/"}'
FORM = "application/x-www-form-urlencoded"
KEY = base64.b64encode(b"k" * 32).decode()

# Every test in a second of its own: within one, few requests are looked at.
_seconds = count(1_800_000_000)


@pytest.fixture
def now() -> float:
    return float(next(_seconds))


def signed(preset: Preset, now: float, secret: str = SECRET, body: bytes = BODY) -> dict[str, str]:
    return sign(preset, secret, body, now=now, delivery_id="an-id", event="push")


def found(
    preset: Preset,
    headers: dict[str, str],
    now: float,
    *,
    secret: str = SECRET,
    body: bytes = BODY,
    at: Address = POSTED,
) -> str:
    refused = Verifier(preset, (secret,)).verify(headers, body, now, at)
    assert isinstance(refused, Refused), refused
    return refused.explanation


GITHUB, GITLAB_SIGNED, V1, V2 = (
    source(name) for name in ("github", "gitlab_signed", "generic", "generic_v2")
)


class TestAnotherSource:
    def test_the_one_that_would_have_matched_is_named(self, now: float) -> None:
        text = found(source("stripe"), signed(GITHUB, now), now)
        assert "signed as GitHub signs, with this route's secret" in text
        assert "“github”" in text

    def test_one_that_shares_the_header_is_named(self, now: float) -> None:
        text = found(source("intercom"), signed(source("jira"), now), now)
        assert "“bitbucket”" in text or "“jira”" in text

    def test_nothing_is_said_of_one_that_would_not_have_matched(self, now: float) -> None:
        text = found(source("stripe"), signed(GITHUB, now, "another"), now)
        assert "with this route's secret" not in text
        assert "is the route set to another source?" in text


class TestTheSecret:
    @pytest.mark.parametrize(
        ("entered", "used", "words"),
        [
            (f" {SECRET}\n", SECRET, "without the white space at its ends"),
            (f'"{SECRET}"', SECRET, "without the quotation marks"),
            (SECRET, f"{SECRET}\n", "with a line break at its end"),
            (KEY, "k" * 32, "decoded from base64"),
            ((b"k" * 32).hex(), "k" * 32, "decoded from hexadecimal"),
        ],
    )
    def test_another_reading_of_it_is_found(
        self, entered: str, used: str, words: str, now: float
    ) -> None:
        text = found(V1, signed(V1, now, used), now, secret=entered)
        assert f"when the secret is taken {words}" in text

    def test_one_that_should_not_have_been_decoded_is_found(self, now: float) -> None:
        secret = f"whsec_{KEY}"
        headers = signed(GITLAB_SIGNED, now, secret)
        plain = {**headers, "webhook-signature": _standard(headers, secret.encode())}
        text = found(GITLAB_SIGNED, plain, now, secret=secret)
        assert "as it stands, not decoded from base64" in text

    def test_one_whose_mark_was_left_away_is_found(self, now: float) -> None:
        headers = signed(GITLAB_SIGNED, now, f"whsec_{KEY}")
        assert "with “whsec_” before it" in found(GITLAB_SIGNED, headers, now, secret=KEY)

    def test_a_token_with_white_space_is_found(self, now: float) -> None:
        gitlab = source("gitlab")
        text = found(gitlab, {"x-gitlab-token": SECRET}, now, secret=f"{SECRET}\n")
        assert "without the white space" in text

    def test_where_nothing_helps_the_secret_is_suspected(self, now: float) -> None:
        text = found(GITHUB, signed(GITHUB, now, "another"), now)
        assert "most likely the secret at the sender is another one" in text


def _standard(headers: dict[str, str], key: bytes) -> str:
    stamp = headers["webhook-timestamp"].encode()
    digest = hmac.digest(key, b"an-id." + stamp + b"." + BODY, "sha256")
    return f"v1,{base64.b64encode(digest).decode()}"


class TestTheBody:
    @pytest.mark.parametrize(
        ("sent", "arrived", "words"),
        [
            (BODY, BODY + b"\n", "without the line break at its end"),
            (BODY + b"\n", BODY, "with a line break at its end"),
            (BODY, b"\xef\xbb\xbf" + BODY, "without a byte order mark"),
            (b'{\n"a":1}', b'{\r\n"a":1}', "with bare line feeds"),
            (b'{\r\n"a":1}', b'{\n"a":1}', "with a carriage return"),
            (BODY, json.dumps(json.loads(BODY)).encode(), "other spaces or escapes"),
            (json.dumps(json.loads(BODY), indent=2, ensure_ascii=False).encode(), BODY,
             "other spaces or escapes"),
            (json.dumps(json.loads(BODY), separators=(",", ":")).replace("/", "\\/").encode(),
             BODY, "other spaces or escapes"),
            (b"a=%20b&c=/", b"a=+b&c=%2F", "the same form encoded otherwise"),
            (BODY, urlencode({"payload": BODY.decode()}).encode(), "the JSON inside the form"),
            (b"", BODY, "that is empty"),
        ],
    )  # fmt: skip
    def test_a_change_on_the_way_is_found(
        self, sent: bytes, arrived: bytes, words: str, now: float
    ) -> None:
        text = found(GITHUB, signed(GITHUB, now, body=sent), now, body=arrived)
        assert words in text
        assert "changes bodies, a proxy perhaps" in text

    @pytest.mark.parametrize(
        "body", [b"", b"\xff", b"[" * 5000, b"a=%ff&b", b"payload=", b"1e999", b'"\\ud800"']
    )
    def test_odd_bodies_are_looked_at_too(self, body: bytes, now: float) -> None:
        assert "another one" in found(GITHUB, signed(GITHUB, now, "another"), now, body=body)


class TestTheWriting:
    def test_another_algorithm_or_encoding_is_found(self, now: float) -> None:
        value = {"x-hub-signature-256": signed(source("shopify"), now)["x-shopify-hmac-sha256"]}
        assert "HMAC-SHA256 in base64, with nothing before it" in found(GITHUB, value, now)

    def test_an_old_algorithm_in_the_new_header_is_found(self, now: float) -> None:
        value = {"x-webhook-signature": signed(source("intercom"), now)["x-hub-signature"]}
        assert "HMAC-SHA1 in hex, after “sha1=”" in found(V1, value, now)


class TestTime:
    def test_a_good_signature_of_another_time_is_called_good(self, now: float) -> None:
        text = found(V2, signed(V2, now - 4000), now)
        assert "4000 s behind" in text
        assert "The signature itself is right for that time." in text

    def test_a_bad_one_is_called_bad(self, now: float) -> None:
        text = found(V2, signed(V2, now - 4000, "another"), now)
        assert "The signature does not match either." in text

    def test_milliseconds_are_recognised(self, now: float) -> None:
        headers = signed(V2, now) | {"x-webhook-timestamp": str(int(now * 1000))}
        assert "It seems to be in milliseconds." in found(V2, headers, now)

    def test_seconds_are_recognised(self, now: float) -> None:
        hubspot = source("hubspot")
        headers = signed(hubspot, now) | {"x-hubspot-request-timestamp": str(int(now))}
        assert "It seems to be in seconds." in found(hubspot, headers, now)


class TestTheAddress:
    @pytest.mark.parametrize(
        "signed_for",
        [
            "http://hermes.example/webhooks/sms",
            "https://hermes.example/webhooks/sms/",
            "https://proxy.example/webhooks/sms",
            "https://inner.example/webhooks/sms",
        ],
    )
    def test_the_one_that_was_signed_is_found(self, signed_for: str, now: float) -> None:
        twilio = source("twilio")
        request = sign_request(
            twilio, SECRET, b"a=1", now=now, delivery_id="a", event="sent", content_type=FORM,
            at=Address("POST", signed_for),
        )  # fmt: skip
        headers = dict(request.headers) | {
            "content-type": FORM,
            "x-forwarded-host": "proxy.example",
            "host": "inner.example",
        }
        at = Address("POST", "https://hermes.example/webhooks/sms")
        assert f"signed for {signed_for}:" in found(twilio, headers, now, body=b"a=1", at=at)


class TestItsBounds:
    def test_a_large_body_gets_the_short_text(self, now: float) -> None:
        body = b" " * (MAX_BODY_BYTES + 1)
        text = found(GITHUB, signed(GITHUB, now), now, body=body)
        assert "most likely" not in text
        assert "something on the way changed the body" in text

    def test_a_route_is_looked_at_once_a_second(self, now: float) -> None:
        headers = signed(GITHUB, now, "another")
        assert "most likely" in found(GITHUB, headers, now)
        assert "most likely" not in found(GITHUB, headers, now)
        assert "most likely" not in found(V1, signed(V1, now, "another"), now)
        next(_seconds)
        assert "most likely" in found(GITHUB, headers, now + 1)

    def test_all_routes_together_are_looked_at_four_times_a_second(self) -> None:
        pace = Pace()
        assert [pace.allows(group, 7.5) for group in range(6)] == [True] * 4 + [False] * 2
        assert pace.allows(5, 8.0)

    def test_what_is_good_is_never_looked_at(self, now: float) -> None:
        pace = Pace()
        for _ in range(9):
            assert not isinstance(
                Verifier(GITHUB, (SECRET,)).verify(signed(GITHUB, now), BODY, now), Refused
            )
        assert pace.allows(hash((SECRET,)), now)

    def test_no_finding_tells_the_secret_or_a_signature(self, now: float) -> None:
        good = signed(GITHUB, now)["x-hub-signature-256"]
        for secret in (f"{SECRET}\n", SECRET):
            text = found(GITHUB, signed(GITHUB, now, "another"), now, secret=secret)
            assert SECRET not in text
            assert good not in text

    def test_every_header_at_once_does_not_break_it(self, now: float) -> None:
        headers = {preset.header: "x" for preset in presets().values() if preset.header}
        assert found(GITHUB, headers, now)
