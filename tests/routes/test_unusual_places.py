"""Signatures of the address, in the body and round an encrypted one; and what is said of them."""

import base64
import hashlib
import json

import pytest

from routes.signatures import Address, Refused, Verified, sign_request, unrecognised

from .keypairs import secret_pair
from .verifying import BODY, HEX, ID, NOW, SECRET, headers_of, refusal, source, verify

FORM = {"content-type": "application/x-www-form-urlencoded"}
GITHUB, GITLAB = source("github"), source("gitlab")


class TestTwilio:
    TWILIO = source("twilio")
    URL = "https://example.com/sms?a=1"

    def request(self, body: bytes, content_type: str) -> tuple[dict[str, str], Address]:
        signed = sign_request(
            self.TWILIO, SECRET, body, now=NOW, delivery_id=ID, event="sent",
            content_type=content_type, at=Address("POST", self.URL, "a=1"),
        )  # fmt: skip
        return dict(signed.headers) | {"content-type": content_type}, signed.at

    def test_a_json_body_is_held_to_the_hash_in_the_url(self) -> None:
        headers, at = self.request(BODY, "application/json")
        assert f"bodySHA256={hashlib.sha256(BODY).hexdigest()}" in at.url
        assert verify(self.TWILIO, headers, at=at) == Verified(self.TWILIO)
        assert refusal(self.TWILIO, headers, body=BODY + b" ", at=at).reason == "bad_signature"

    def test_a_hash_is_demanded_where_the_body_is_no_form(self) -> None:
        headers, at = self.request(b"", FORM["content-type"])
        assert verify(self.TWILIO, headers, body=b"", at=at) == Verified(self.TWILIO)
        headers["content-type"] = "application/json"
        assert isinstance(verify(self.TWILIO, headers, at=at), Refused)

    @pytest.mark.parametrize("body", [b"a=1&b=2", b"b=2&a=1", b"a=1&b=2&a=1"])
    def test_fields_are_signed_in_the_order_of_their_names(self, body: bytes) -> None:
        headers, at = self.request(b"a=1&b=2", FORM["content-type"])
        assert verify(self.TWILIO, headers, body=body, at=at) == Verified(self.TWILIO)

    def test_another_address_is_refused(self) -> None:
        headers, _at = self.request(b"a=1", FORM["content-type"])
        other = Address("POST", "https://example.com/sms", "")
        assert isinstance(verify(self.TWILIO, headers, body=b"a=1", at=other), Refused)


class TestPlacesOutsideTheHeader:
    def test_grafanas_time_may_be_absent_and_can_not_be_taken_away(self) -> None:
        grafana = source("grafana")
        timed = headers_of(grafana)
        assert verify(grafana, timed) == Verified(grafana)
        without = {"x-grafana-alerting-signature": timed["x-grafana-alerting-signature"]}
        assert isinstance(verify(grafana, without), Refused)
        bare = {"x-grafana-alerting-signature": HEX}
        assert verify(grafana, bare) == Verified(grafana)

    def test_linears_time_is_in_the_body(self) -> None:
        linear = source("linear")
        signed = sign_request(linear, SECRET, BODY, now=NOW, delivery_id=ID, event="Issue")
        assert json.loads(signed.body)["webhookTimestamp"] == NOW * 1000
        headers = dict(signed.headers)
        assert verify(linear, headers, body=signed.body) == Verified(linear)
        late = refusal(linear, headers, body=signed.body, now=NOW + 61)
        assert late.reason == "stale_timestamp"

    def test_mailguns_signature_says_nothing_of_the_rest_of_its_body(self) -> None:
        mailgun = source("mailgun")
        signed = sign_request(mailgun, SECRET, BODY, now=NOW, delivery_id=ID, event="opened")
        said = json.loads(signed.body)
        assert said["signature"]["token"] == ID
        said["event"] = "another"
        assert verify(mailgun, {}, body=json.dumps(said).encode()) == Verified(mailgun)
        said["signature"]["token"] = "another"
        assert isinstance(verify(mailgun, {}, body=json.dumps(said).encode()), Refused)
        assert not mailgun.protects_body

    @pytest.mark.parametrize("name", ["mailgun", "microsoft_graph", "wecom", "linear", "feishu"])
    @pytest.mark.parametrize(
        "body",
        [b"", b"[]", b"1", b"null", b"\xff", b"[" * 3000, b"<xml", b'{"signature":[]}', b"a=b",
         b'{"signature":{"signature":{}}}', b'{"signature":{"signature":"\\ud800"}}',
         b'{"webhookTimestamp":1e400}', b'{"encrypt":5}', b"<xml><Encrypt/></xml>"],
    )  # fmt: skip
    def test_an_odd_body_is_refused(self, name: str, body: bytes) -> None:
        preset = source(name)
        found = verify(preset, {}, secret=secret_pair(preset)[1], body=body)
        assert isinstance(found, Refused)


class TestEncrypted:
    @pytest.mark.parametrize("name", ["feishu", "wecom"])
    def test_the_true_body_comes_out(self, name: str) -> None:
        preset = source(name)
        secret = secret_pair(preset)[0]
        body = b"<xml><MsgId>7</MsgId></xml>" if preset.xml else b'{"uuid":"7"}'
        signed = sign_request(preset, secret, body, now=NOW, delivery_id=ID, event="ping")
        assert b"7" not in signed.body or b"MsgId" not in signed.body
        found = verify(preset, dict(signed.headers), secret=secret, body=signed.body, at=signed.at)
        assert isinstance(found, Verified)
        assert found.body == body.replace(b"7", ID.encode())

    def test_a_genuine_request_under_another_aes_key_is_refused(self) -> None:
        wecom = source("wecom")
        ours = secret_pair(wecom)[0]
        token = ours.partition(":")[0]
        key = base64.b64encode(b"k" * 32).decode().rstrip("=")
        signed = sign_request(
            wecom, f"{token}:{key}", b"<xml></xml>", now=NOW, delivery_id=ID, event="ping"
        )
        found = refusal(wecom, {}, secret=ours, body=signed.body, at=signed.at)
        assert found.reason == "undecipherable"

    @pytest.mark.parametrize("secret", ["token", "token:short", "token:" + "=" * 43, ":"])
    def test_a_secret_without_a_whole_aes_key_is_unusable(self, secret: str) -> None:
        found = refusal(source("wecom"), {}, secret=secret, at=Address(query="msg_signature=a"))
        assert found.reason == "unusable_secret"
        assert "EncodingAESKey" in found.explanation


class TestExplanations:
    def test_a_pinned_source_says_what_came_instead(self) -> None:
        found = refusal(GITLAB, headers_of(GITHUB, "another"))
        assert "X-Gitlab-Token is missing" in found.explanation
        assert "X-Hub-Signature-256" in found.explanation

    def test_an_old_signature_alone_is_called_old(self) -> None:
        found = refusal(GITHUB, {"x-hub-signature": f"sha1={HEX[:40]}"})
        assert "only the old X-Hub-Signature" in found.explanation

    def test_an_unsigned_request_is_told_what_is_there(self) -> None:
        found = unrecognised({"x-hub-signature-256": "", "content-type": "application/json"})
        assert found.reason == "missing_signature"
        assert "X-Hub-Signature-256 is there but empty" in found.explanation
        assert "Is a secret set at the sender?" in found.explanation

    def test_a_header_nobody_knows_is_pointed_out(self) -> None:
        found = unrecognised({"x-acme-signature": "abc"})
        assert "X-Acme-Signature looks like one" in found.explanation

    def test_a_look_alike_is_told_which_sources_it_may_be(self) -> None:
        found = unrecognised({"x-hub-signature": "sha256=abc"})
        assert "Bitbucket" in found.explanation
