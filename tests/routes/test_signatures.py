"""Every source's signature: what verifies, and what must be refused."""

import base64
from dataclasses import replace
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routes.presets import Preset, presets
from routes.presets.record import IN_AUTHORIZATION, Encoding, Scheme
from routes.samples import Request, sample, signed_request
from routes.signatures import Address, Refused, Verified, Verifier, sign

from .keypairs import secret_pair

NOW = 1_700_000_000.0
URL = "https://hermes.example/webhooks/any?team=shop"
ALL = list(presets().values())
IN_HEADERS = [preset for preset in ALL if preset.header]
PROTECTED = [preset for preset in ALL if preset.protects_body]
TIMED = [preset for preset in ALL if preset.timestamp]
DEMANDED = [preset for preset in TIMED if preset.timestamp and not preset.timestamp.optional]

V1, V2 = presets()["generic"], presets()["generic_v2"]
STRIPE, SHOPIFY, VERCEL = (presets()[name] for name in ("stripe", "shopify", "vercel"))


def request_of(preset: Preset, *, now: float = NOW, seed: str = "hermes") -> Request:
    private, _public = secret_pair(preset, seed)
    return signed_request(preset, private, sample(preset.name), URL, now)


def verify(
    preset: Preset,
    request: Request,
    *,
    secrets: tuple[str, ...] | None = None,
    headers: dict[str, str] | None = None,
    body: bytes | None = None,
    query: str | None = None,
    now: float = NOW,
) -> Verified | Refused:
    query = urlsplit(request.url).query if query is None else query
    at = Address(request.method, f"https://hermes.example{request.url}", query)
    return Verifier(preset, secret_pair(preset)[1:] if secrets is None else secrets).verify(
        dict(request.headers) | (headers or {}),
        request.body if body is None else body,
        now,
        at,
    )


def refusal(*args: object, **kwargs: object) -> Refused:
    found = verify(*args, **kwargs)  # type: ignore[arg-type]
    assert isinstance(found, Refused), found
    return found


def by_name(presets: list[Preset]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("preset", presets, ids=lambda preset: preset.name)


class TestEverySource:
    @by_name(ALL)
    def test_what_it_signs_verifies_and_names_the_secret(self, preset: Preset) -> None:
        found = verify(preset, request_of(preset))
        assert isinstance(found, Verified), found
        assert found.preset == preset
        assert found.secret == secret_pair(preset)[1]
        assert found.secret not in repr(found)

    @by_name(ALL)
    def test_an_empty_request_is_refused(self, preset: Preset) -> None:
        request = Request("POST", "/webhooks/any", {}, b"")
        assert refusal(preset, request).reason == "missing_signature"

    @by_name(IN_HEADERS)
    def test_an_empty_signature_counts_as_missing(self, preset: Preset) -> None:
        found = refusal(preset, request_of(preset), headers={preset.header: ""})
        assert found.reason == "missing_signature"

    @by_name(ALL)
    def test_another_secret_is_refused(self, preset: Preset) -> None:
        found = refusal(preset, request_of(preset, seed="another"))
        assert found.reason == "bad_signature"

    @by_name(PROTECTED)
    def test_a_changed_body_is_refused(self, preset: Preset) -> None:
        request = request_of(preset)
        changed = request.body.replace(b"e", b"f")
        assert isinstance(verify(preset, request, body=changed), Refused)

    @by_name([preset for preset in IN_HEADERS if preset.scheme not in IN_AUTHORIZATION])
    def test_another_spelling_of_the_signature_is_refused(self, preset: Preset) -> None:
        request = request_of(preset)
        changed = request.headers[preset.header].swapcase()
        assert isinstance(verify(preset, request, headers={preset.header: changed}), Refused)

    @by_name(IN_HEADERS)
    @pytest.mark.parametrize(
        "hostile",
        [
            "\xff\xfe", "sha256=\xe9", "密钥", "\ud800", "\0", "v1,", "v1a,", ",,,", " ",
            "=" * 9000, "a," * 500, "a " * 500, "t=1,v1=", "Bearer ", "Bearer a.b.c",
            "Bearer \xff", "Basic ", "Basic ::", "Basic Og==", "bearer", "JWT ..", "t=,v0=",
        ],
    )  # fmt: skip
    def test_a_hostile_signature_is_refused(self, preset: Preset, hostile: str) -> None:
        found = verify(preset, request_of(preset), headers={preset.header: hostile})
        assert isinstance(found, Refused)

    @by_name(ALL)
    def test_each_of_several_live_secrets_is_accepted(self, preset: Preset) -> None:
        secrets = tuple(secret_pair(preset, seed)[1] for seed in ("new", "old"))
        for seed, secret in zip(("new", "old"), secrets, strict=True):
            found = verify(preset, request_of(preset, seed=seed), secrets=secrets)
            assert isinstance(found, Verified)
            assert found.secret == secret

    @by_name(ALL)
    @pytest.mark.parametrize("secrets", [(), ("",), (" \n",)])
    def test_no_secret_lets_nobody_in(self, preset: Preset, secrets: tuple[str, ...]) -> None:
        assert refusal(preset, request_of(preset), secrets=secrets).reason == "unusable_secret"

    @by_name([preset for preset in IN_HEADERS if preset.scheme is not Scheme.TOKEN])
    def test_a_header_sent_twice_needs_one_good_signature(self, preset: Preset) -> None:
        request = request_of(preset)
        twice = f"{preset.prefix}wrong, {request.headers[preset.header]}"
        assert isinstance(verify(preset, request, headers={preset.header: twice}), Verified)

    @by_name([preset for preset in IN_HEADERS if preset.scheme not in IN_AUTHORIZATION])
    def test_the_ninth_signature_is_not_tried(self, preset: Preset) -> None:
        request = request_of(preset)
        good, wrong = request.headers[preset.header], f"{preset.prefix}wrong{preset.separator}"
        eighth = {preset.header: wrong * 7 + good}
        if preset.timestamp is None or not preset.timestamp.part:
            assert isinstance(verify(preset, request, headers=eighth), Verified)
        found = refusal(preset, request, headers={preset.header: wrong * 9 + good})
        assert found.reason in ("bad_signature", "missing_timestamp")

    @by_name(ALL)
    def test_no_explanation_tells_a_secret_or_the_expected_signature(self, preset: Preset) -> None:
        request = request_of(preset)
        good = request.headers.get(preset.header, "nothing in a header")
        refusals = [
            verify(preset, Request("POST", "/", {}, b"{}")),
            verify(preset, request, headers={preset.header: "wrong"}),
            verify(preset, request_of(preset, seed="another")),
            verify(preset, request, now=0),
        ]
        for found in refusals:
            if isinstance(found, Refused):
                for secret in secret_pair(preset):
                    assert secret not in found.explanation
                assert good not in found.explanation


class TestTimestamps:
    @by_name(TIMED)
    @pytest.mark.parametrize("side", [-1, 0, 1])
    def test_as_much_as_is_allowed_is_accepted(self, preset: Preset, side: int) -> None:
        assert preset.timestamp
        request = request_of(preset, now=NOW + side * preset.timestamp.tolerance)
        assert isinstance(verify(preset, request), Verified)

    @by_name(TIMED)
    @pytest.mark.parametrize(("side", "words"), [(-1, "behind"), (1, "ahead of")])
    def test_more_is_stale_and_the_skew_is_told(
        self, preset: Preset, side: int, words: str
    ) -> None:
        assert preset.timestamp
        skew = preset.timestamp.tolerance + 1
        found = refusal(preset, request_of(preset, now=NOW + side * skew))
        assert found.reason == "stale_timestamp"
        assert f"{skew} s {words}" in found.explanation

    @by_name([one for one in TIMED if one.timestamp and one.timestamp.header])
    @pytest.mark.parametrize(
        "value",
        ["+1700000000", "1700000000.0", " 1700000000 ", "1e9", "١٧٠", "9" * 15, "\xff", "²"],
    )
    def test_anything_but_digits_is_refused(self, preset: Preset, value: str) -> None:
        assert preset.timestamp
        if preset.timestamp.part:
            value = f"{preset.timestamp.part}{value}x,{preset.prefix}abc"
        found = refusal(preset, request_of(preset), headers={preset.timestamp.header: value})
        assert found.reason == "bad_timestamp"

    @by_name([one for one in DEMANDED if one.timestamp and one.timestamp.header])
    def test_a_missing_one_is_refused(self, preset: Preset) -> None:
        assert preset.timestamp
        value = f"{preset.prefix}abc" if preset.timestamp.part else ""
        found = refusal(preset, request_of(preset), headers={preset.timestamp.header: value})
        assert found.reason == "missing_timestamp"


class TestSigning:
    @by_name(ALL)
    def test_a_secret_that_can_not_sign_is_an_error(self, preset: Preset) -> None:
        with pytest.raises(ValueError, match="can't be one of"):
            signed_request(preset, " ", sample(preset.name), URL, NOW)

    @by_name([preset for preset in ALL if preset.scheme in (Scheme.ED25519, Scheme.ECDSA)])
    def test_a_public_key_can_not_sign(self, preset: Preset) -> None:
        with pytest.raises(ValueError, match="can't be one of"):
            signed_request(preset, secret_pair(preset)[1], sample(preset.name), URL, NOW)

    def test_headers_alone_are_not_enough_for_everybody(self) -> None:
        for name in ("mailgun", "wecom", "microsoft_graph", "feishu"):
            preset = presets()[name]
            with pytest.raises(ValueError, match="signs in the body"):
                sign(
                    preset, secret_pair(preset)[0], b'{"value":[{}]}', now=NOW, delivery_id="a",
                    event="b",
                )  # fmt: skip

    def test_headers_alone_leave_the_body_as_it_is(self) -> None:
        headers = sign(STRIPE, "whsec_a", b'{"id": 1}', now=NOW, delivery_id="a", event="b")
        found = Verifier(STRIPE, ("whsec_a",)).verify(headers, b'{"id": 1}', NOW)
        assert found == Verified(STRIPE)


@given(
    value=st.text(max_size=80), stamp=st.text(max_size=20), body=st.binary(max_size=60),
    query=st.text(max_size=40),
)  # fmt: skip
def test_nothing_that_is_sent_breaks_a_verifier(
    value: str, stamp: str, body: bytes, query: str
) -> None:
    for preset in ALL:
        headers = dict.fromkeys((preset.header, *preset.id_headers, preset.nonce_header), value)
        if preset.timestamp and preset.timestamp.header and not preset.timestamp.part:
            headers[preset.timestamp.header] = stamp
        verifier = Verifier(preset, secret_pair(preset)[1:])
        at = Address("POST", f"https://a.example/?{query}", query)
        assert isinstance(verifier.verify(headers, body, NOW, at), Refused)


@given(body=st.binary(max_size=200), secret=st.binary(min_size=1, max_size=40))
def test_whatever_the_body_and_the_secret_the_round_trip_holds(body: bytes, secret: bytes) -> None:
    text = base64.b64encode(secret).decode()
    milliseconds = replace(V2, timestamp=replace(V2.timestamp, per_second=1000))  # type: ignore[type-var]
    sha512 = replace(V1, algorithm="sha512", encoding=Encoding.BASE64, prefix="s=")
    for preset in (V1, V2, STRIPE, SHOPIFY, VERCEL, milliseconds, sha512):
        headers = sign(preset, text, body, now=NOW, delivery_id="a", event="ping")
        assert Verifier(preset, (text,)).verify(headers, body, NOW) == Verified(preset)


@given(
    secret=st.text(max_size=60)
    | st.binary(max_size=70).map(lambda raw: base64.b64encode(raw).decode())
    | st.binary(min_size=32, max_size=32).map(bytes.hex)
    | st.sampled_from(["whpk_" + "A" * 43 + "=", "-----BEGIN PUBLIC KEY-----\nAA==", "a:b:c"])
)
def test_no_secret_that_is_entered_breaks_a_verifier(secret: str) -> None:
    for preset in ALL:
        verifier = Verifier(preset, (secret,))
        found = verifier.verify({preset.header: "v1a,AAAA"}, b"{}", NOW)
        assert isinstance(found, Refused) or preset.scheme is Scheme.TOKEN
