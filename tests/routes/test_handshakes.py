"""Set-up requests: answered as the sources document it, and to nobody who should not be."""

import hashlib
import json
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routes.handshakes import Greeting, greet
from routes.presets import Preset, presets
from routes.signatures import Refused, Verified
from routes.signatures.encryption import closed
from routes.signatures.keys import parts_of

from .keypairs import secret_pair
from .verifying import NOW, SECRET, source

GREETING = [preset for preset in presets().values() if preset.handshake]


def ask(
    name: str,
    payload: object = None,
    *,
    method: str = "POST",
    query: dict[str, str] | str = "",
    headers: dict[str, str] | None = None,
    secrets: tuple[str, ...] = (SECRET,),
    genuine: bool = False,
    rate_limit: int = 0,
) -> Greeting | Refused | None:
    preset = source(name)
    verified = Verified(preset, secret=secrets[0]) if genuine else None
    text = query if isinstance(query, str) else urlencode(query)
    return greet(
        preset, secrets, method, text, headers or {}, payload, verified, now=NOW,
        rate_limit=rate_limit,
    )  # fmt: skip


def said(found: object) -> Any:
    assert isinstance(found, Greeting), found
    assert found.status == 200
    assert found.content_type == "application/json"
    return json.loads(found.body)


def echoed(found: object) -> str:
    assert isinstance(found, Greeting), found
    assert found.status == 200
    assert found.content_type.startswith("text/plain")
    assert found.headers["X-Content-Type-Options"] == "nosniff"
    return found.body.decode()


class TestSlack:
    HELLO = {"type": "url_verification", "challenge": "3eZbrw1aB"}  # noqa: RUF012

    def test_a_signed_challenge_is_echoed(self) -> None:
        assert said(ask("slack", self.HELLO, genuine=True)) == {"challenge": "3eZbrw1aB"}

    def test_an_unsigned_one_is_left_to_the_signature_check(self) -> None:
        assert ask("slack", self.HELLO) is None

    @pytest.mark.parametrize(
        "payload",
        [
            {"type": "event_callback", "challenge": "a"},
            {"type": "url_verification"},
            {"type": "url_verification", "challenge": ["a"]},
            {"type": "url_verification", "challenge": "x" * 513},
            {"type": "url_verification", "challenge": "a\nb"},
            {"type": "url_verification", "challenge": "é"},
            [],
            None,
            "url_verification",
        ],
    )
    def test_nothing_else_is_a_challenge(self, payload: object) -> None:
        assert ask("slack", payload, genuine=True) is None


class TestFeishu:
    HELLO = {"type": "url_verification", "challenge": "abc", "token": "tok"}  # noqa: RUF012

    def hidden(self, payload: object, secret: str) -> object:
        preset = source("feishu")
        assert preset.encryption
        body = json.dumps(payload).encode()
        return json.loads(closed(preset.encryption, body, parts_of(preset, secret))[1])

    def test_the_verification_token_is_compared(self) -> None:
        found = ask("feishu_token", self.HELLO, secrets=("old", "tok"))
        assert said(found) == {"challenge": "abc"}

    @pytest.mark.parametrize("token", ["other", "", None, ["tok"]])
    def test_another_token_is_refused(self, token: object) -> None:
        found = ask("feishu_token", self.HELLO | {"token": token}, secrets=("tok",))
        assert isinstance(found, Refused)

    def test_an_encrypted_one_is_opened(self) -> None:
        payload = self.hidden(self.HELLO, "key")
        assert said(ask("feishu", payload, secrets=("key",))) == {"challenge": "abc"}
        assert said(ask("feishu", payload, secrets=("old:x", "key:tok"))) == {"challenge": "abc"}

    def test_an_encrypted_one_with_another_token_is_not_answered(self) -> None:
        assert ask("feishu", self.hidden(self.HELLO, "key"), secrets=("key:another",)) is None

    def test_one_under_another_key_is_not_answered(self) -> None:
        assert ask("feishu", self.hidden(self.HELLO, "key"), secrets=("another",)) is None

    def test_one_in_clear_needs_the_token_where_a_key_is_known(self) -> None:
        assert said(ask("feishu", self.HELLO, secrets=("key:tok",))) == {"challenge": "abc"}
        assert isinstance(ask("feishu", self.HELLO, secrets=("key",)), Refused)

    def test_a_signed_event_is_left_to_the_signature_check(self) -> None:
        headers = {"x-lark-signature": "abc"}
        payload = self.hidden(self.HELLO, "key")
        assert ask("feishu", payload, headers=headers, secrets=("key",)) is None
        found = ask("feishu", self.HELLO, headers=headers, secrets=("key",), genuine=True)
        assert said(found) == {"challenge": "abc"}

    def test_an_event_is_no_handshake(self) -> None:
        assert ask("feishu", self.hidden({"uuid": "1"}, "key"), secrets=("key",)) is None
        assert ask("feishu_token", {"token": "tok", "uuid": "1"}, secrets=("tok",)) is None


class TestZoom:
    def hello(self, token: object) -> dict[str, object]:
        return {"event": "endpoint.url_validation", "payload": {"plainToken": token}}

    def test_the_token_comes_back_with_its_hash(self) -> None:
        secrets = ("hermes-test-secret", "old")
        assert said(ask("zoom", self.hello("abc123"), secrets=secrets, genuine=True)) == {
            "plainToken": "abc123",
            "encryptedToken": "ff0a1aac4961942b883bda2d13ca3e34746e846285b891b1c13be30a0afa6b2f",
        }

    def test_nobody_else_gets_a_hash(self) -> None:
        assert ask("zoom", self.hello("abc123")) is None

    @pytest.mark.parametrize("token", ["v0:1700000000:{}", "", "a" * 256, None, 5, "a b", "é"])
    def test_what_a_request_is_signed_with_is_not_hashed(self, token: object) -> None:
        assert isinstance(ask("zoom", self.hello(token), genuine=True), Refused)

    @pytest.mark.parametrize("payload", [{"event": "meeting.started"}, [], None])
    def test_an_event_is_no_handshake(self, payload: object) -> None:
        assert ask("zoom", payload, genuine=True) is None


class TestDiscord:
    def test_a_ping_is_answered_with_a_pong(self) -> None:
        assert said(ask("discord", {"type": 1}, genuine=True)) == {"type": 1}

    def test_a_ping_of_webhook_events_is_answered_empty(self) -> None:
        found = ask("discord", {"type": 0, "application_id": "1"}, genuine=True)
        assert isinstance(found, Greeting)
        assert (found.status, found.body) == (204, b"")

    def test_an_unsigned_ping_is_left_to_the_signature_check(self) -> None:
        assert ask("discord", {"type": 1}) is None

    @pytest.mark.parametrize(
        "payload", [{"type": 2}, {"type": 1, "event": {}}, {"type": True}, {"type": "1"}, [1], None]
    )
    def test_anything_else_is_no_ping(self, payload: object) -> None:
        assert ask("discord", payload, genuine=True) is None


class TestSecretsThatAreTold:
    TOKEN = "secret_" + "a" * 40

    def test_notions_token_is_taken_where_there_is_no_secret(self) -> None:
        found = ask("notion", {"verification_token": self.TOKEN}, secrets=())
        assert said(found) == {}
        assert isinstance(found, Greeting)
        assert found.new_secret == self.TOKEN
        assert self.TOKEN not in repr(found)

    def test_asanas_secret_is_taken_and_echoed(self) -> None:
        found = ask("asana", {}, headers={"x-hook-secret": self.TOKEN}, secrets=())
        assert isinstance(found, Greeting)
        assert found.headers == {"X-Hook-Secret": self.TOKEN}
        assert found.new_secret == self.TOKEN

    @pytest.mark.parametrize("name", ["notion", "asana"])
    def test_the_one_that_is_known_is_confirmed_and_not_new(self, name: str) -> None:
        found = self.tell(name, self.TOKEN, secrets=("old", self.TOKEN))
        assert isinstance(found, Greeting)
        assert found.new_secret == ""

    @pytest.mark.parametrize("name", ["notion", "asana"])
    def test_nobody_replaces_a_secret(self, name: str) -> None:
        found = self.tell(name, self.TOKEN, secrets=("ours",))
        assert isinstance(found, Refused)
        assert "has one already" in found.explanation

    @pytest.mark.parametrize("name", ["notion", "asana"])
    @pytest.mark.parametrize("token", ["short", "x" * 256, "a" * 20 + "\n", "a b" * 9, "é" * 20])
    def test_an_odd_one_is_refused(self, name: str, token: str) -> None:
        assert isinstance(self.tell(name, token, secrets=()), Refused)

    def test_an_event_is_no_handshake(self) -> None:
        event = {"verification_token": self.TOKEN, "type": "page.created"}
        assert ask("notion", event, secrets=()) is None
        headers = {"x-hook-secret": self.TOKEN, "x-hook-signature": "abc"}
        assert ask("asana", {"events": []}, headers=headers, secrets=()) is None

    def tell(self, name: str, token: str, secrets: tuple[str, ...]) -> object:
        if name == "notion":
            return ask("notion", {"verification_token": token}, secrets=secrets)
        return ask("asana", {}, headers={"x-hook-secret": token}, secrets=secrets)


class TestByGet:
    META = {"hub.mode": "subscribe", "hub.verify_token": "ours", "hub.challenge": "1158201444"}  # noqa: RUF012

    @pytest.mark.parametrize("secrets", [("app:ours",), ("old:theirs", "app:ours"), ("ours",)])
    def test_metas_challenge_is_echoed_for_the_right_token(self, secrets: tuple[str, ...]) -> None:
        found = ask("meta", method="GET", query=self.META, secrets=secrets)
        assert echoed(found) == "1158201444"

    @pytest.mark.parametrize("secrets", [("app:other",), ("ours:other",), ("app:",), ()])
    def test_another_token_is_refused(self, secrets: tuple[str, ...]) -> None:
        found = ask("whatsapp", method="GET", query=self.META, secrets=secrets)
        assert isinstance(found, Refused)

    @pytest.mark.parametrize("challenge", ["<script>", "", "a" * 256, "a b"])
    def test_an_odd_challenge_is_not_echoed(self, challenge: str) -> None:
        query = self.META | {"hub.challenge": challenge}
        assert ask("meta", method="GET", query=query, secrets=("app:ours",)) is None

    def test_dropboxs_challenge_is_echoed(self) -> None:
        for challenge in ("a-B_1", "aB+/9w=="):
            found = ask("dropbox", method="GET", query={"challenge": challenge})
            assert echoed(found) == challenge
        assert ask("dropbox", method="GET", query={"challenge": "<b>"}) is None
        assert ask("dropbox", method="GET") is None

    @pytest.mark.parametrize("method", ["GET", "POST"])
    def test_graphs_token_is_echoed_decoded(self, method: str) -> None:
        token = "Validation: Testing client <1> & more"
        found = ask("microsoft_graph", method=method, query={"validationToken": token})
        assert echoed(found) == token

    @pytest.mark.parametrize("token", ["", "a\r\nb", "é", "a" * 513])
    def test_an_odd_token_is_not_echoed(self, token: str) -> None:
        assert ask("microsoft_graph", query={"validationToken": token}) is None

    @pytest.mark.parametrize("query", ["&" * 99, "%ff=%zz", "challenge=%00", "="])
    def test_odd_parameters_are_no_handshake(self, query: str) -> None:
        for name in ("meta", "dropbox", "microsoft_graph", "wecom"):
            assert ask(name, method="GET", query=query) is None


class TestWecom:
    def query(self, secret: str, echo: bytes = b"5837", now: float = NOW) -> dict[str, str]:
        preset = source("wecom")
        assert preset.encryption
        parts = parts_of(preset, secret)
        hidden = closed(preset.encryption, echo, parts)[0]
        values = {"timestamp": str(int(now)), "nonce": "n1", "echostr": hidden}
        text = "".join(sorted([parts[0], *values.values()]))
        return values | {"msg_signature": hashlib.sha1(text.encode()).hexdigest()}

    def test_the_echo_comes_back_decrypted(self) -> None:
        secret = secret_pair(source("wecom"))[0]
        found = ask("wecom", method="GET", query=self.query(secret), secrets=("a:b", secret))
        assert echoed(found) == "5837"

    def test_another_signature_or_time_is_refused(self) -> None:
        secret = secret_pair(source("wecom"))[0]
        for query in (
            self.query(secret) | {"msg_signature": "0" * 40},
            self.query(secret) | {"nonce": "n2"},
            self.query(secret, now=NOW - 10_000),
            self.query(secret_pair(source("wecom"), "other")[0]),
        ):
            assert isinstance(ask("wecom", method="GET", query=query, secrets=(secret,)), Refused)

    @pytest.mark.parametrize("echo", ["</Encrypt><x>", "not base64!", "a" * 99_999])
    def test_an_odd_echo_is_not_answered(self, echo: str) -> None:
        secret = secret_pair(source("wecom"))[0]
        query = self.query(secret) | {"echostr": echo}
        found = ask("wecom", method="GET", query=query, secrets=(secret,))
        assert not isinstance(found, Greeting)


class TestCloudEvents:
    def test_an_origin_is_allowed(self) -> None:
        headers = {"webhook-request-origin": "eventemitter.example.com"}
        found = ask("cloudevents", method="OPTIONS", headers=headers)
        assert isinstance(found, Greeting)
        assert found.headers["WebHook-Allowed-Origin"] == "eventemitter.example.com"
        assert "WebHook-Allowed-Rate" not in found.headers

    @pytest.mark.parametrize(
        ("wanted", "limit", "allowed"),
        [("120", 30, "30"), ("10", 30, "10"), ("120", 0, "120"), ("-1", 30, None), ("x", 0, None)],
    )
    def test_the_rate_is_no_more_than_the_route_allows(
        self, wanted: str, limit: int, allowed: str | None
    ) -> None:
        headers = {"webhook-request-origin": "a.example", "webhook-request-rate": wanted}
        found = ask("cloudevents", method="OPTIONS", headers=headers, rate_limit=limit)
        assert isinstance(found, Greeting)
        assert found.headers.get("WebHook-Allowed-Rate") == allowed

    @pytest.mark.parametrize("origin", ["", "a\r\nX: y", "é", "a" * 256, "<b>"])
    def test_an_odd_origin_is_not_echoed(self, origin: str) -> None:
        headers = {"webhook-request-origin": origin}
        assert ask("cloudevents", method="OPTIONS", headers=headers) is None


@pytest.mark.parametrize("preset", presets().values(), ids=lambda preset: preset.name)
def test_another_method_is_no_handshake(preset: Preset) -> None:
    methods = preset.handshake.methods if preset.handshake else ()
    for method in {"GET", "POST", "OPTIONS", "PUT", "HEAD"} - set(methods):
        assert ask(preset.name, {}, method=method, query={"challenge": "a"}, genuine=True) is None


texts = st.sampled_from(
    ["url_verification", "endpoint.url_validation", "subscribe", "abc", "", "\ud800", "a" * 999]
) | st.text(max_size=9)
values = st.recursive(
    st.none() | st.integers() | texts,
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["type", "challenge", "token", "event", "payload", "plainToken", "encrypt",
             "verification_token"]
        ),
        inner,
        max_size=4,
    ),
    max_leaves=8,
)  # fmt: skip


@given(
    payload=values,
    query=st.dictionaries(
        st.sampled_from(
            ["challenge", "validationToken", "hub.mode", "hub.challenge", "hub.verify_token",
             "echostr", "timestamp", "nonce", "msg_signature"]
        ),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
    ),
    header=st.text(max_size=12),
)  # fmt: skip
def test_nothing_that_is_sent_breaks_a_handshake(
    payload: object, query: dict[str, str], header: str
) -> None:
    names = ("x-hook-secret", "webhook-request-origin", "webhook-request-rate")
    for preset in GREETING:
        assert preset.handshake
        for method in preset.handshake.methods:
            for genuine in (False, True):
                found = ask(
                    preset.name, payload, method=method, query=query, genuine=genuine,
                    headers=dict.fromkeys(names, header), secrets=secret_pair(preset)[:1],
                )  # fmt: skip
                if isinstance(found, Greeting):
                    assert len(found.body) < 2000
                    assert b"<html" not in found.body or "text/plain" in found.content_type
