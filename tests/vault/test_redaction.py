import base64
import json
import time
from urllib.parse import quote, quote_plus, urlencode

import pytest

from vault.redaction import redact, redact_headers

AWKWARD = 'pä ss/w+rd"&<\\1=?'


@pytest.mark.parametrize(
    "spelling",
    [
        pytest.param(AWKWARD, id="raw"),
        pytest.param(quote(AWKWARD), id="quote"),
        pytest.param(quote(AWKWARD, safe=""), id="quote all"),
        pytest.param(quote_plus(AWKWARD), id="quote_plus"),
        pytest.param(quote(AWKWARD, safe="").replace("%2F", "%2f").lower(), id="quote lower"),
        pytest.param(json.dumps(AWKWARD)[1:-1], id="JSON"),
        pytest.param(json.dumps(AWKWARD, ensure_ascii=False)[1:-1], id="JSON, UTF-8"),
        pytest.param(json.dumps(AWKWARD)[1:-1].replace("/", r"\/"), id="JSON of PHP"),
        pytest.param(
            json.dumps(AWKWARD)[1:-1].replace("&", r"\u0026").replace("<", r"\u003c"),
            id="JSON of Go",
        ),
        pytest.param(base64.b64encode(AWKWARD.encode()).decode(), id="base64"),
        pytest.param(base64.urlsafe_b64encode(AWKWARD.encode()).decode(), id="base64 for URLs"),
        pytest.param(base64.b64encode(AWKWARD.encode()).decode().rstrip("="), id="unpadded"),
    ],
)
def test_a_secret_is_found_in_each_spelling(spelling: str) -> None:
    assert redact(f"before {spelling} after", [AWKWARD]) == "before *** after"


def test_a_secret_in_a_query_string_is_found() -> None:
    assert redact("?" + urlencode({"key": AWKWARD, "a": 1}), [AWKWARD]) == "?key=***&a=1"


def test_every_occurrence_of_every_secret_is_replaced() -> None:
    assert redact("one1 two2 one1", ["one1", "two2"]) == "*** *** ***"


@pytest.mark.parametrize("secrets", [["token", "token-long"], ["token-long", "token"]])
def test_the_longest_secret_goes_first(secrets: list[str]) -> None:
    assert redact("a token-long b", secrets) == "a *** b"


@pytest.mark.parametrize(("secret", "shown"), [("", "abcd"), ("abc", "abcd"), ("abcd", "***")])
def test_secrets_count_from_four_characters(secret: str, shown: str) -> None:
    assert redact("abcd", [secret]) == shown


def test_text_without_secrets_is_left_alone() -> None:
    assert redact("nothing to hide", ["secret"]) == "nothing to hide"


@pytest.mark.parametrize(
    "text", ["a" * 65_536, "ab" * 32_768, json.dumps({"k": ["v" * 100] * 600})]
)
def test_a_large_text_takes_little_time(text: str) -> None:
    secrets = ["a" * 64, "ab" * 40, "aaaa", AWKWARD, "x" * 200]
    before = time.perf_counter()
    redact(text, secrets)
    assert time.perf_counter() - before < 0.5


@pytest.mark.parametrize(
    "name",
    [
        "Authorization",
        "authorization",
        "Proxy-Authorization",
        "Cookie",
        "Set-Cookie",
        "X-Gitlab-Token",
        "X-Api-Key",
        "apikey",
        "X-Telegram-Bot-Api-Secret-Token",
        "X-Webhook-Password",
        "sign",
    ],
)
def test_a_credential_header_is_masked(name: str) -> None:
    assert redact_headers({name: "Bearer hush"}) == {name: "***"}


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("X-Hub-Signature-256", "sha256=0a1b2c", "sha256=***"),
        ("X-Hub-Signature", "sha1=0a1b2c", "sha1=***"),
        ("X-Slack-Signature", "v0=0a1b2c", "v0=***"),
        ("webhook-signature", "v1,b64== v1,b64==", "v1,***"),
        ("Stripe-Signature", "t=1,v1=0a1b2c", "t=***"),
        ("Linear-Signature", "0a1b2c3d", "***"),
        ("X-Shopify-Signature", "abc=", "***"),
    ],
)
def test_a_signature_header_keeps_its_scheme(name: str, value: str, shown: str) -> None:
    assert redact_headers({name: value}) == {name: shown}


def test_a_token_header_keeps_no_prefix() -> None:
    assert redact_headers({"X-Token": "v1,hush"}) == {"X-Token": "***"}


def test_other_headers_are_left_alone() -> None:
    headers = {"X-GitHub-Event": "push", "Content-Type": "application/json", "Design": "a"}
    assert redact_headers(headers) == headers
