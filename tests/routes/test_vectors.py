"""Known answers: signatures that vendors print, and our own (facts/sources.md §6)."""

import base64
import hashlib
import hmac
from dataclasses import dataclass, field
from urllib.parse import urlencode, urlsplit

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from routes.presets import presets
from routes.signatures import Refused, Verified, Verifier
from routes.signatures.verdicts import POSTED, Address

SECRET = "hermes-test-secret"
BODY = b'{"event":"ping","n":1}'
NOW = 1_700_000_000
ID = "01890a5d-ac96-774b-bcce-b302099a8057"
WHSEC = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="

HEX = "eab207d18ce2c1baae6009d2bf617faff82221d4137656cb1a9eec4b53fcbc4e"
BASE64 = "6rIH0YziwbquYAnSv2F/r/giIdQTdlbLGp7sS1P8vE4="
SHA1_HEX = "7c1cb17ccd09732b09032247e11159f1d974bca4"
DOTTED = "beeff373eb95af566e874b55b767e7c3e89309c34469e8c1dbfaa8ffb4394f16"
WITH_COLON = "180d976f3d785c9362c50d00cc2c3f3b6a9b2dd09bc926bfcbf99b16f6b2b0ae"
V0 = "b068722b98e440c13e7b09b6fa27d82b96170d1787a951de1354ae2c66b98c0d"
HASHEE = "38d3e9b5675921551db5c8e7a0c7df4dae8ec773699c7979e7eda6a6f6178da8"
STANDARD = "v1,ja6q30YVDpJ+nSAEzRKrmlAgGAv6/NrD0mfIB1rPbCI="
MAILGUN = "d85fbf6e8d9b5fa9293d905d8f9570928e67708132c0977ee2c6b62a055bde90"
LARK = "86631439e766ce01a0c4ebcf524da1d046f22a5ab0b365b4e6fadfd25382bb25"
DINGTALK = "rJygoRT/tY2pfstpICq/7nNjLDOQY0ADFCKr9CYCl+w="

SLACK_BODY = (
    b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow"
    b"&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner"
    b"&command=%2Fwebhook-collect&text="
    b"&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554"
    b"%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
)
TWILIO_URL = "https://example.com/myapp.php?foo=1&bar=2"
TWILIO_FORM = {
    "Digits": "1234",
    "To": "+18005551212",
    "From": "+14158675310",
    "Caller": "+14158675310",
    "CallSid": "CA1234567890ABCDE",
}
FORM = {"content-type": "application/x-www-form-urlencoded"}


@dataclass(frozen=True)
class Vector:
    """What a source sent, and who could know of it."""

    preset: str
    headers: dict[str, str]
    body: bytes = BODY
    secret: str = SECRET
    now: int = NOW
    at: Address = field(default=POSTED)


VENDORS = [
    Vector(
        "github",
        {
            "x-hub-signature-256": "sha256="
            "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
        },
        b"Hello, World!",
        "It's a Secret to Everybody",
    ),
    *(
        Vector(
            preset,
            {
                f"{prefix}-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
                f"{prefix}-timestamp": "1614265330",
                f"{prefix}-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
            },
            b'{"test": 2432232314}',
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            1614265330,
        )
        for preset, prefix in (
            ("standard_webhooks", "webhook"),
            ("gitlab_signed", "webhook"),
            ("openai", "webhook"),
            ("svix", "svix"),
            ("resend", "svix"),
        )
    ),
    Vector(
        "twilio",
        {"x-twilio-signature": "L/OH5YylLD5NRKLltdqwSvS0BnU=", **FORM},
        urlencode(TWILIO_FORM).encode(),
        "12345",
        at=Address("POST", TWILIO_URL, urlsplit(TWILIO_URL).query),
    ),
    Vector(
        "slack",
        {
            "x-slack-signature": "v0="
            "a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
            "x-slack-request-timestamp": "1531420618",
            **FORM,
        },
        SLACK_BODY,
        "8f742231b10e8888abcd99yyyzzz85a5",
        1531420618,
    ),
]

OURS = [
    Vector("generic", {"x-webhook-signature": HEX}),
    Vector("sentry", {"sentry-hook-signature": HEX}),
    Vector("linear", {"linear-signature": HEX}),
    Vector("gitea", {"x-gitea-signature": HEX}),
    Vector("forgejo", {"x-forgejo-signature": HEX}),
    Vector("gogs", {"x-gogs-signature": HEX}),
    Vector("dropbox", {"x-dropbox-signature": HEX}),
    Vector("asana", {"x-hook-signature": HEX}),
    Vector("github", {"x-hub-signature-256": f"sha256={HEX}"}),
    Vector("meta", {"x-hub-signature-256": f"sha256={HEX}"}),
    Vector("jira", {"x-hub-signature": f"sha256={HEX}"}),
    Vector("bitbucket", {"x-hub-signature": f"sha256={HEX}"}),
    Vector("bitbucket_server", {"x-hub-signature": f"sha256={HEX}"}),
    Vector("notion", {"x-notion-signature": f"sha256={HEX}"}),
    Vector("redmine", {"x-redmine-signature-256": f"sha256={HEX}"}),
    Vector("pagerduty", {"x-pagerduty-signature": f"v1={'0' * 64},v1={HEX}"}),
    Vector("grafana", {"x-grafana-alerting-signature": HEX}),
    Vector("shopify", {"x-shopify-hmac-sha256": BASE64}),
    Vector("typeform", {"typeform-signature": f"sha256={BASE64}"}),
    Vector("hookdeck", {"x-hookdeck-signature": BASE64}),
    Vector("hookdeck", {"x-hookdeck-signature": "AAAA", "x-hookdeck-signature-2": BASE64}),
    Vector("vercel", {"x-vercel-signature": SHA1_HEX}),
    Vector("intercom", {"x-hub-signature": f"sha1={SHA1_HEX}"}),
    Vector("stripe", {"stripe-signature": f"t={NOW},v1={DOTTED},v0={'0' * 64}"}),
    Vector("elevenlabs", {"elevenlabs-signature": f"t={NOW},v0={DOTTED}"}),
    Vector("generic_v2", {"x-webhook-signature-v2": DOTTED, "x-webhook-timestamp": str(NOW)}),
    Vector(
        "grafana",
        {"x-grafana-alerting-signature": WITH_COLON, "x-grafana-alerting-timestamp": str(NOW)},
    ),
    Vector("slack", {"x-slack-signature": f"v0={V0}", "x-slack-request-timestamp": str(NOW)}),
    Vector("zoom", {"x-zm-signature": f"v0={V0}", "x-zm-request-timestamp": str(NOW)}),
    Vector(
        "hashee",
        {
            "x-hashee-signature": HASHEE,
            "x-hashee-timestamp": str(NOW),
            "x-hashee-delivery-id": ID,
        },
    ),
    *(
        Vector(
            preset,
            {
                f"{prefix}-id": ID,
                f"{prefix}-timestamp": str(NOW),
                f"{prefix}-signature": f"v1,{'A' * 43}= {STANDARD}",
            },
            secret=WHSEC,
        )
        for preset, prefix in (
            ("standard_webhooks", "webhook"),
            ("gitlab_signed", "webhook"),
            ("svix", "svix"),
        )
    ),
    Vector(
        "supabase",
        {"webhook-id": ID, "webhook-timestamp": str(NOW), "webhook-signature": STANDARD},
        secret=f"v1,{WHSEC}",
    ),
    Vector(
        "mailgun",
        {},
        b'{"signature":{"timestamp":"%d","token":"tok123","signature":"%s"},"event-data":{}}'
        % (NOW, MAILGUN.encode()),
    ),
    Vector(
        "feishu",
        {
            "x-lark-signature": LARK,
            "x-lark-request-timestamp": str(NOW),
            "x-lark-request-nonce": "nonce1",
        },
    ),
    Vector("dingtalk", {"sign": DINGTALK, "timestamp": f"{NOW}000"}),
    Vector("gitlab", {"x-gitlab-token": SECRET}),
    Vector("telegram", {"x-telegram-bot-api-secret-token": SECRET}),
    Vector("datadog", {"x-datadog-token": SECRET}),
    Vector("alertmanager", {"authorization": f"Bearer {SECRET}"}),
    Vector("bearer", {"authorization": f"bearer {SECRET}"}),
    Vector("basic", {"authorization": "Basic aGVybWVzOmhlcm1lcy10ZXN0LXNlY3JldA=="}),
    Vector(
        "alertmanager_basic",
        {"authorization": "Basic aGVybWVzOmhlcm1lcy10ZXN0LXNlY3JldA=="},
        secret=f"hermes:{SECRET}",
    ),
    Vector(
        "microsoft_graph",
        {},
        b'{"value":[{"clientState":"%s"},{"clientState":"%s"}]}' % ((SECRET.encode(),) * 2),
    ),
]


def by_preset(vector: Vector) -> str:
    return vector.preset


def verify(vector: Vector, **changed: object) -> Verified | Refused:
    asked = vector.__dict__ | changed
    verifier = Verifier(presets()[asked["preset"]], (asked["secret"],))
    return verifier.verify(asked["headers"], asked["body"], asked["now"], asked["at"])


@pytest.mark.parametrize("vector", VENDORS, ids=by_preset)
def test_what_a_vendor_prints_is_accepted(vector: Vector) -> None:
    assert isinstance(verify(vector), Verified)


@pytest.mark.parametrize("vector", OURS, ids=by_preset)
def test_our_own_answers_are_accepted(vector: Vector) -> None:
    assert isinstance(verify(vector), Verified)


@pytest.mark.parametrize("vector", [*VENDORS, *OURS], ids=by_preset)
def test_under_another_secret_they_are_not(vector: Vector) -> None:
    assert isinstance(verify(vector, secret=f"{vector.secret[:-1]}x"), Refused)


@pytest.mark.parametrize(
    "vector",
    [vector for vector in [*VENDORS, *OURS] if presets()[vector.preset].protects_body],
    ids=by_preset,
)
def test_over_another_body_they_are_not(vector: Vector) -> None:
    changed = vector.body.replace(b"1", b"2", 1)
    assert changed != vector.body or vector.body.startswith(b"Hello")
    assert isinstance(verify(vector, body=changed + b"&a=b"), Refused)


@pytest.mark.parametrize(
    ("preset", "late"), [("slack", 301), ("stripe", 301), ("elevenlabs", 1801), ("dingtalk", 3601)]
)
def test_beyond_their_window_they_are_not(preset: str, late: int) -> None:
    vector = next(one for one in OURS if one.preset == preset)
    assert isinstance(verify(vector, now=NOW + late - 1), Verified)
    for now in (NOW + late, NOW - late):
        found = verify(vector, now=now)
        assert isinstance(found, Refused)
        assert found.reason == "stale_timestamp"


def test_a_grafana_time_can_not_be_left_out() -> None:
    with_time = next(one for one in OURS if "x-grafana-alerting-timestamp" in one.headers)
    headers = {"x-grafana-alerting-signature": WITH_COLON}
    assert isinstance(verify(with_time, headers=headers), Refused)


def test_one_foreign_client_state_spoils_a_batch() -> None:
    vector = next(one for one in OURS if one.preset == "microsoft_graph")
    body = vector.body.replace(SECRET.encode(), b"other", 1)
    assert isinstance(verify(vector, body=body), Refused)


def test_linear_counts_the_time_in_its_body() -> None:
    body = b'{"webhookTimestamp":1700000000000}'
    headers = {"linear-signature": hmac.new(SECRET.encode(), body, "sha256").hexdigest()}
    vector = Vector("linear", headers, body)
    assert isinstance(verify(vector, now=NOW + 60), Verified)
    assert isinstance(verify(vector, now=NOW + 61), Refused)


def test_hubspot_signs_method_address_body_and_time() -> None:
    url = "https://hermes.example/webhooks/crm?a=1"
    text = f"POST{url}{BODY.decode()}{NOW}000".encode()
    signature = base64.b64encode(hmac.digest(SECRET.encode(), text, "sha256")).decode()
    headers = {"x-hubspot-signature-v3": signature, "x-hubspot-request-timestamp": f"{NOW}000"}
    vector = Vector("hubspot", headers, at=Address("POST", url, "a=1"))
    assert isinstance(verify(vector), Verified)
    assert isinstance(verify(vector, at=Address("POST", url + "1", "a=11")), Refused)
    assert isinstance(verify(vector, at=Address("PUT", url, "a=1")), Refused)


def test_zendesk_signs_a_time_that_is_written_out() -> None:
    stamp = "2026-03-02T11:20:44Z"
    digest = hmac.digest(SECRET.encode(), stamp.encode() + BODY, "sha256")
    headers = {
        "x-zendesk-webhook-signature": base64.b64encode(digest).decode(),
        "x-zendesk-webhook-signature-timestamp": stamp,
    }
    vector = Vector("zendesk", headers)
    assert isinstance(verify(vector), Verified)
    later = headers | {"x-zendesk-webhook-signature-timestamp": "2026-03-02T11:20:45Z"}
    assert isinstance(verify(vector, headers=later), Refused)


def test_twilio_signs_the_address_of_a_json_body() -> None:
    digest = hashlib.sha256(BODY).hexdigest()
    url = f"https://hermes.example/webhooks/calls?bodySHA256={digest}"
    signature = base64.b64encode(hmac.digest(SECRET.encode(), url.encode(), "sha1")).decode()
    headers = {"x-twilio-signature": signature, "content-type": "application/json"}
    at = Address("POST", url, f"bodySHA256={digest}")
    vector = Vector("twilio", headers, at=at)
    assert isinstance(verify(vector), Verified)
    assert isinstance(verify(vector, body=BODY + b" "), Refused)


def test_discord_is_checked_with_a_public_key() -> None:
    private = Ed25519PrivateKey.from_private_bytes(bytes(32))
    public = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    headers = {
        "x-signature-ed25519": private.sign(f"{NOW}".encode() + BODY).hex(),
        "x-signature-timestamp": str(NOW),
    }
    vector = Vector("discord", headers, secret=public.hex())
    assert isinstance(verify(vector), Verified)
    assert isinstance(verify(vector, body=BODY + b" "), Refused)


def test_sendgrid_is_checked_with_a_public_key() -> None:
    private = generate_private_key(SECP256R1())
    public = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    signature = private.sign(f"{NOW}".encode() + BODY, ECDSA(SHA256()))
    headers = {
        "x-twilio-email-event-webhook-signature": base64.b64encode(signature).decode(),
        "x-twilio-email-event-webhook-timestamp": str(NOW),
    }
    vector = Vector("sendgrid", headers, secret=base64.b64encode(public).decode())
    assert isinstance(verify(vector), Verified)
    assert isinstance(verify(vector, body=BODY + b" "), Refused)


def test_wecom_signs_its_pieces_in_order_of_the_alphabet() -> None:
    text = b'{"Encrypt":"not-really-hidden"}'
    pieces = sorted(["hermes-token", str(NOW), "nonce1", "not-really-hidden"])
    signature = hashlib.sha1("".join(pieces).encode()).hexdigest()
    query = f"msg_signature={signature}&timestamp={NOW}&nonce=nonce1"
    key = base64.b64encode(bytes(32)).decode().rstrip("=")
    vector = Vector(
        "wecom",
        {},
        text,
        f"hermes-token:{key}",
        at=Address("POST", f"https://h.example/?{query}", query),
    )
    found = verify(vector)
    assert isinstance(found, Refused)
    # The signature is good; what it covers was never encrypted.
    assert found.reason != "bad_signature"
    forged = Address("POST", "", query.replace("nonce1", "nonce2"))
    other = verify(vector, at=forged)
    assert isinstance(other, Refused)
    assert other.reason == "bad_signature"
