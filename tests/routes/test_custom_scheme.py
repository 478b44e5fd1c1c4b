"""A scheme of the operator's own: what it can say, and that every fault is named."""

import json
from contextlib import suppress
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from hypothesis import given
from hypothesis import strategies as st

from routes.presets import delivery_id, event_type, presets
from routes.presets.custom import custom_preset
from routes.signatures import (
    POSTED,
    Address,
    Refused,
    SignedRequest,
    Verified,
    Verifier,
    sign_request,
)

from .keypairs import secret_pair
from .verifying import BODY, ID, NOW, SECRET

FULL: dict[str, Any] = {
    "scheme": "hmac",
    "header": "X-Acme-Signature",
    "algorithm": "sha512",
    "encoding": "base64",
    "prefix": "v2=",
    "separator": ";",
    "signed": "{id}:{timestamp}:{body}",
    "timestamp": {"header": "X-Acme-Time", "unit": "milliseconds", "tolerance": 60},
    "id": {"header": "X-Acme-Delivery"},
    "event": {"path": "meta.kind"},
    "secret": "hex",
    "greetings": ["hello"],
    "label": "Acme",
}
KEY = "0a" * 32
GOOD: list[dict[str, Any]] = [
    FULL,
    {"header": "X-Sig"},
    {"header": "X-Sig", "secret_prefix": "whsec_"},
    {"scheme": "hash", "header": "X-Sig", "algorithm": "sha1"},
    {"scheme": "token", "header": "X-Api-Key"},
    {"scheme": "token", "header": "Authorization", "prefix": "Token "},
    {"scheme": "token", "query": "key"},
    {"scheme": "token", "path": "auth.token"},
    {"scheme": "bearer"},
    {"scheme": "basic", "event": {"header": "X-Event"}},
    {"scheme": "jwt"},
    {"scheme": "ed25519", "header": "X-Sig", "secret": "hex"},
    {"scheme": "ecdsa", "header": "X-Sig", "secret": "base64", "encoding": "base64"},
    {"query": "sig"},
    {"header": "X-Sig", "signed": "{method}{url}{body}"},
    {"header": "X-Sig", "timestamp": {"header": "X-Sig", "part": "t="}, "prefix": "s=",
     "signed": "{timestamp}.{body}"},
    {"header": "X-Sig", "timestamp": {"header": "X-Time", "optional": True},
     "signed": "{timestamp}:{body}"},
    {"header": "X-Sig", "timestamp": {"path": "sent_at"}, "id": {"path": "id"}},
    {"header": "X-Sig", "nonce": {"header": "X-Nonce"}, "signed": "{nonce}{body}"},
]  # fmt: skip


def request_of(data: dict[str, Any]) -> tuple[SignedRequest, str]:
    preset = custom_preset(data)
    private, public = secret_pair(preset)
    if data.get("secret") == "hex" and preset.scheme == "hmac":
        private = public = KEY
    at = Address("POST", "https://a.example/webhooks/x")
    body = b'{"auth": {}, "meta": {"kind": "made"}}'
    request = sign_request(preset, private, body, now=NOW, delivery_id=ID, event="made", at=at)
    return request, public


def faults(data: object) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        custom_preset(data)
    return caught.value.messages


@pytest.mark.parametrize("data", GOOD, ids=lambda data: str(sorted(data)))
def test_what_it_signs_it_verifies(data: dict[str, Any]) -> None:
    preset = custom_preset(data)
    request, secret = request_of(data)
    found = Verifier(preset, (secret,)).verify(request.headers, request.body, NOW, request.at)
    assert found == Verified(preset)
    other = Verifier(preset, (secret_pair(preset, "another")[1],))
    assert isinstance(other.verify(request.headers, request.body, NOW, request.at), Refused)
    if preset.protects_body:
        changed = Verifier(preset, (secret,)).verify(
            request.headers, request.body + b" ", NOW, request.at
        )
        assert isinstance(changed, Refused)


def test_it_says_where_event_and_id_are() -> None:
    preset = custom_preset(FULL)
    request, _secret = request_of(FULL)
    payload = json.loads(request.body)
    assert event_type(preset, request.headers, payload) == "made"
    assert delivery_id(preset, request.headers, payload) == ID
    assert preset.greetings == {"hello"}
    assert preset.label == "Acme"
    assert request.headers["x-acme-signature"].startswith("v2=")
    assert request.headers["x-acme-time"] == "1700000000000"


def test_its_id_and_event_may_be_in_body_and_header() -> None:
    preset = custom_preset(
        {"header": "X-Sig", "id": {"path": "delivery.0"}, "event": {"header": "X-Event"}}
    )
    assert delivery_id(preset, {}, {"delivery": ["a"]}) == "a"
    assert event_type(preset, {"x-event": "made"}, {}) == "made"


def test_it_is_never_recognised_by_headers() -> None:
    assert not custom_preset({"header": "X-Sig"}).auto


def test_it_may_be_what_a_known_source_is() -> None:
    shopify = presets()["shopify"]
    preset = custom_preset({"header": "X-Shopify-Hmac-SHA256", "encoding": "base64"})
    request = sign_request(shopify, SECRET, BODY, now=NOW, delivery_id=ID, event="orders/create")
    found = Verifier(preset, (SECRET,)).verify(request.headers, request.body, NOW, POSTED)
    assert found == Verified(preset)


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"header": ""}, "header"),
        ({"header": "X Sig"}, "header"),
        ({"header": "X-Sig\r\nX-Other"}, "header"),
        ({"header": ["X-Sig"]}, "header"),
        ({"query": "sig"}, "header"),
        ({"scheme": "rsa"}, "scheme"),
        ({"scheme": ["hmac"]}, "scheme"),
        ({"scheme": "none"}, "scheme"),
        ({"algorithm": "md5"}, "algorithm"),
        ({"encoding": "HEX"}, "encoding"),
        ({"prefix": "é"}, "prefix"),
        ({"prefix": 5}, "prefix"),
        ({"separator": "x" * 41}, "separator"),
        ({"signed": ""}, "signed"),
        ({"signed": 5}, "signed"),
        ({"signed": "{bdy}"}, "signed"),
        ({"signed": "{id}"}, "signed"),
        ({"signed": "{secret}{body}"}, "signed"),
        ({"signed": "{encrypted}{body}"}, "signed"),
        ({"signed": "{nonce}{body}"}, "signed"),
        ({"signed": "{url}{body}", "header": None, "query": "sig"}, "signed"),
        ({"signed": "{body}"}, "timestamp"),
        ({"timestamp": None}, "signed"),
        ({"timestamp": "X-Time"}, "timestamp"),
        ({"timestamp": {"unit": "seconds"}}, "timestamp"),
        ({"timestamp": {"header": "X-Time", "path": "t"}}, "timestamp"),
        ({"timestamp": {"header": "X-Time", "unit": "minutes"}}, "timestamp.unit"),
        ({"timestamp": {"header": "X-Time", "tolerance": "60"}}, "timestamp.tolerance"),
        ({"timestamp": {"header": "X-Time", "tolerance": True}}, "timestamp.tolerance"),
        ({"timestamp": {"header": "X-Time", "tolerance": 0}}, "timestamp.tolerance"),
        ({"timestamp": {"header": "X-Time", "tolerance": 10**9}}, "timestamp.tolerance"),
        ({"timestamp": {"header": "X-Time", "optional": "yes"}}, "timestamp.optional"),
        ({"timestamp": {"header": "X-Time", "zone": "UTC"}}, "timestamp.zone"),
        ({"timestamp": {"header": "X Time"}}, "timestamp.header"),
        ({"id": "X-Id"}, "id"),
        ({"id": {"header": "X-Id", "path": "id"}}, "id"),
        ({"id": {"query": "id"}}, "id.query"),
        ({"event": {"path": "a b"}}, "event.path"),
        ({"nonce": {"header": "X-Nonce"}}, "nonce"),
        ({"secret": "rot13"}, "secret"),
        ({"greetings": "ping"}, "greetings"),
        ({"greetings": [1]}, "greetings"),
        ({"tolerance": 5}, "tolerance"),
        ({"100%s": 5}, "100%s"),
        ({5: 5}, "5"),
    ],
)
def test_each_fault_is_named_by_its_path(changes: dict[str, Any], path: str) -> None:
    found = faults(FULL | changes)
    assert any(message.startswith(f"{path}: ") for message in found), found


def test_all_faults_are_named_at_once() -> None:
    found = faults({"algorithm": "md5", "encoding": "base32", "id": {"header": "X Id"}})
    paths = [message.partition(":")[0] for message in found]
    assert paths == ["header", "id.header", "algorithm", "encoding"]


@pytest.mark.parametrize("scheme", ["token", "bearer", "basic", "jwt"])
def test_what_means_nothing_for_a_scheme_is_refused(scheme: str) -> None:
    header = {"header": "X-Key"} if scheme == "token" else {}
    found = faults({"scheme": scheme, "signed": "{body}", **header})
    assert found[0].startswith("signed: means nothing here")


@pytest.mark.parametrize("data", [None, [], "hmac", 5])
def test_what_is_no_mapping_is_refused(data: object) -> None:
    assert faults(data) == ["A custom scheme is a mapping."]


things = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    | st.sampled_from(["hmac", "token", "X-Sig", "{body}", "{timestamp}", "hex"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["header", "path", "unit"]) | st.text(), inner, max_size=3),
    max_leaves=5,
)  # fmt: skip


@given(data=st.dictionaries(st.sampled_from(sorted(FULL)) | st.text(max_size=5), things))
def test_nothing_that_is_configured_raises_anything_else(data: dict[str, Any]) -> None:
    with suppress(ValidationError):
        verifier = Verifier(custom_preset(data), (SECRET,))
        assert isinstance(verifier.verify({"x-sig": "abc"}, BODY, NOW), Refused | Verified)
