"""Every source's signature: known answers, round trips, and what must be refused."""

import base64
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routes.presets import Preset, Timestamp, detect, presets
from routes.presets.record import Encoding
from routes.signatures import Refused, Verified, Verifier, key_of, sign, unrecognised

NOW = 1_700_000_000.0
SECRET = "hermes-test-secret"
BODY = b'{"event":"ping","n":1}'
ID = "01890a5d-ac96-774b-bcce-b302099a8057"
OTHER_SECRET = "another-secret"
WHSEC = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
HEX = "eab207d18ce2c1baae6009d2bf617faff82221d4137656cb1a9eec4b53fcbc4e"

ALL = list(presets().values())
SIGNED = [preset for preset in ALL if preset.protects_body]
TIMED = [preset for preset in ALL if preset.timestamp]

GITHUB, GITLAB, GITLAB_SIGNED, V1, V2 = (
    presets()[name] for name in ("github", "gitlab", "gitlab_signed", "generic", "generic_v2")
)
# Sources that have no record yet: each is a handful of fields, and no code.
SLACK = replace(
    V1,
    name="slack",
    header="x-slack-signature",
    prefix="v0=",
    timestamp=Timestamp("x-slack-request-timestamp"),
    signed="v0:{timestamp}:{body}",
)
STRIPE = replace(
    V1,
    name="stripe",
    header="stripe-signature",
    prefix="v1=",
    timestamp=Timestamp("stripe-signature", part="t="),
    signed="{timestamp}.{body}",
    id_path="id",
)
SHOPIFY = replace(V1, name="shopify", header="x-shopify-hmac-sha256", encoding=Encoding.BASE64)
VERCEL = replace(V1, name="vercel", header="x-vercel-signature", algorithm="sha1")
MILLISECONDS = replace(V2, timestamp=Timestamp("x-webhook-timestamp", per_second=1000))


def headers_of(
    preset: Preset,
    *,
    secret: str = SECRET,
    body: bytes = BODY,
    now: float = NOW,
    event: str = "ping",
) -> dict[str, str]:
    return sign(preset, secret, body, now=now, delivery_id=ID, event=event)


def verify(
    preset: Preset,
    headers: dict[str, str],
    *,
    secrets: tuple[str, ...] = (SECRET,),
    body: bytes = BODY,
    now: float = NOW,
) -> Verified | Refused:
    return Verifier(preset, secrets).verify(headers, body, now)


def refusal(*args: object, **kwargs: object) -> Refused:
    found = verify(*args, **kwargs)  # type: ignore[arg-type]
    assert isinstance(found, Refused)
    return found


named = pytest.mark.parametrize("preset", ALL, ids=lambda preset: preset.name)
signed = pytest.mark.parametrize("preset", SIGNED, ids=lambda preset: preset.name)
timed = pytest.mark.parametrize("preset", TIMED, ids=lambda preset: preset.name)


class TestKnownAnswers:
    def test_github_as_its_documentation_prints_it(self) -> None:
        headers = {
            "x-hub-signature-256": "sha256="
            "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
        }
        found = verify(
            GITHUB, headers, secrets=("It's a Secret to Everybody",), body=b"Hello, World!"
        )
        assert found == Verified(GITHUB)

    def test_standard_webhooks_as_its_library_prints_it(self) -> None:
        headers = {
            "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
            "webhook-timestamp": "1614265330",
            "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        }
        found = verify(
            GITLAB_SIGNED,
            headers,
            secrets=("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",),
            body=b'{"test": 2432232314}',
            now=1614265330,
        )
        assert found == Verified(GITLAB_SIGNED)

    @pytest.mark.parametrize(
        ("preset", "secret", "signature"),
        [
            (GITHUB, SECRET, f"sha256={HEX}"),
            (V1, SECRET, HEX),
            (V2, SECRET, "beeff373eb95af566e874b55b767e7c3e89309c34469e8c1dbfaa8ffb4394f16"),
            (GITLAB, SECRET, SECRET),
            (GITLAB_SIGNED, WHSEC, "v1,ja6q30YVDpJ+nSAEzRKrmlAgGAv6/NrD0mfIB1rPbCI="),
            (
                SLACK,
                SECRET,
                "v0=b068722b98e440c13e7b09b6fa27d82b96170d1787a951de1354ae2c66b98c0d",
            ),
            (
                STRIPE,
                SECRET,
                "t=1700000000,v1=beeff373eb95af566e874b55b767e7c3e89309c34469e8c1dbfaa8ffb4394f16",
            ),
            (SHOPIFY, SECRET, "6rIH0YziwbquYAnSv2F/r/giIdQTdlbLGp7sS1P8vE4="),
            (VERCEL, SECRET, "7c1cb17ccd09732b09032247e11159f1d974bca4"),
        ],
        ids=lambda value: value.name if isinstance(value, Preset) else "",
    )
    def test_our_own_vectors_are_signed_and_verified(
        self, preset: Preset, secret: str, signature: str
    ) -> None:
        headers = headers_of(preset, secret=secret)
        assert headers[preset.header] == signature
        assert verify(preset, headers, secrets=(secret,)) == Verified(preset)


class TestEverySource:
    @named
    def test_what_it_signs_verifies(self, preset: Preset) -> None:
        assert verify(preset, headers_of(preset)) == Verified(preset)

    @named
    def test_what_it_signs_is_recognised(self, preset: Preset) -> None:
        assert detect(headers_of(preset)) == preset

    @named
    def test_a_missing_signature_is_refused(self, preset: Preset) -> None:
        assert refusal(preset, {}).reason == "missing_signature"

    @named
    def test_an_empty_signature_counts_as_missing(self, preset: Preset) -> None:
        headers = headers_of(preset) | {preset.header: ""}
        assert refusal(preset, headers).reason == "missing_signature"

    @named
    def test_another_secret_is_refused(self, preset: Preset) -> None:
        headers = headers_of(preset, secret=OTHER_SECRET)
        assert refusal(preset, headers).reason == "bad_signature"

    @signed
    def test_a_changed_body_is_refused(self, preset: Preset) -> None:
        assert refusal(preset, headers_of(preset), body=BODY + b" ").reason == "bad_signature"

    @signed
    def test_another_spelling_of_the_signature_is_refused(self, preset: Preset) -> None:
        headers = headers_of(preset)
        headers[preset.header] = headers[preset.header].swapcase()
        assert refusal(preset, headers).reason == "bad_signature"

    @named
    @pytest.mark.parametrize(
        "hostile",
        [
            "\xff\xfe",
            "sha256=\xe9",
            "密钥",
            "\ud800",
            "\0",
            "v1,",
            ",,,",
            " ",
            "=" * 9000,
            "a," * 500,
        ],
    )
    def test_a_hostile_signature_is_refused(self, preset: Preset, hostile: str) -> None:
        headers = headers_of(preset) | {preset.header: hostile}
        assert isinstance(verify(preset, headers), Refused)

    @named
    def test_each_of_several_live_secrets_is_accepted(self, preset: Preset) -> None:
        secrets = (OTHER_SECRET, SECRET)
        for secret in secrets:
            assert verify(preset, headers_of(preset, secret=secret), secrets=secrets)

    @named
    @pytest.mark.parametrize("secrets", [(), ("",), (" \n",)])
    def test_no_secret_lets_nobody_in(self, preset: Preset, secrets: tuple[str, ...]) -> None:
        headers = headers_of(preset) | {preset.header: "x"}
        assert refusal(preset, headers, secrets=secrets).reason == "unusable_secret"

    @named
    def test_a_header_sent_twice_needs_one_good_signature(self, preset: Preset) -> None:
        headers = headers_of(preset)
        headers[preset.header] = f"{preset.prefix}wrong, {headers[preset.header]}"
        assert verify(preset, headers) == Verified(preset)

    @signed
    def test_the_ninth_signature_is_not_tried(self, preset: Preset) -> None:
        headers = headers_of(preset)
        wrong = f"{preset.prefix}wrong{preset.separator}"
        eighth = headers | {preset.header: wrong * 7 + headers[preset.header]}
        assert verify(preset, eighth) == Verified(preset)
        ninth = headers | {preset.header: wrong * 8 + headers[preset.header]}
        assert "more signatures" in refusal(preset, ninth).explanation

    @named
    def test_no_explanation_tells_a_secret_or_the_expected_signature(self, preset: Preset) -> None:
        good = headers_of(preset)[preset.header]
        for headers in (
            {},
            headers_of(preset) | {preset.header: "wrong"},
            headers_of(preset, secret=OTHER_SECRET),
            headers_of(preset, now=0),
        ):
            found = verify(preset, headers)
            if isinstance(found, Refused):
                assert SECRET not in found.explanation
                assert good not in found.explanation


class TestTimestamps:
    @timed
    @pytest.mark.parametrize("skew", [-300, 0, 300])
    def test_five_minutes_either_way_are_accepted(self, preset: Preset, skew: int) -> None:
        assert verify(preset, headers_of(preset, now=NOW + skew)) == Verified(preset)

    @timed
    @pytest.mark.parametrize(("skew", "side"), [(-301, "behind"), (301, "ahead of")])
    def test_more_is_stale_and_the_skew_is_told(self, preset: Preset, skew: int, side: str) -> None:
        found = refusal(preset, headers_of(preset, now=NOW + skew))
        assert found.reason == "stale_timestamp"
        assert f"301 s {side}" in found.explanation

    @timed
    @pytest.mark.parametrize(
        "value",
        ["+1700000000", "1700000000.0", " 1700000000 ", "1e9", "١٧٠", "9" * 15, "\xff", "²"],
    )
    def test_anything_but_digits_is_refused(self, preset: Preset, value: str) -> None:
        assert preset.timestamp
        headers = headers_of(preset) | {preset.timestamp.header: value}
        assert refusal(preset, headers).reason == "bad_timestamp"

    @timed
    def test_a_missing_one_is_refused(self, preset: Preset) -> None:
        assert preset.timestamp
        headers = headers_of(preset)
        del headers[preset.timestamp.header]
        assert refusal(preset, headers).reason == "missing_timestamp"

    def test_milliseconds_are_a_matter_of_the_record(self) -> None:
        headers = headers_of(MILLISECONDS)
        assert headers["x-webhook-timestamp"] == "1700000000000"
        assert verify(MILLISECONDS, headers) == Verified(MILLISECONDS)
        assert refusal(MILLISECONDS, headers, now=NOW + 301).reason == "stale_timestamp"


class TestGitHub:
    @pytest.mark.parametrize(
        ("value", "hint"),
        [
            (HEX, "begins with sha256="),
            (f"sha256={HEX.upper()}", "upper case"),
            (f"SHA256={HEX}", "begins with sha256="),
            (f"sha1={HEX}", "begins with sha256="),
            ("sha256=zz", "not hexadecimal"),
            ("sha256=\xe9", "not ASCII"),
            (f"sha256={HEX[:-1]}0", "does not match the body"),
        ],
    )
    def test_the_explanation_says_what_is_wrong_with_the_spelling(
        self, value: str, hint: str
    ) -> None:
        assert hint in refusal(GITHUB, {"x-hub-signature-256": value}).explanation


class TestGitLab:
    def test_a_token_outside_ascii_works(self) -> None:
        secret = "秘密-é"
        wire = secret.encode().decode("latin-1")
        assert verify(GITLAB, {"x-gitlab-token": wire}, secrets=(secret,)) == Verified(GITLAB)

    def test_a_token_with_a_comma_works(self) -> None:
        assert verify(GITLAB, {"x-gitlab-token": "a, b"}, secrets=("a, b",)) == Verified(GITLAB)

    def test_part_of_the_token_is_not_the_token(self) -> None:
        assert isinstance(verify(GITLAB, {"x-gitlab-token": SECRET[:-1]}), Refused)

    def test_a_separator_in_the_signed_id_is_refused(self) -> None:
        headers = sign(GITLAB_SIGNED, WHSEC, BODY, now=NOW, delivery_id="a.1", event="push")
        assert refusal(GITLAB_SIGNED, headers, secrets=(WHSEC,)).reason == "bad_id"

    def test_an_unsigned_id_is_refused(self) -> None:
        headers = headers_of(GITLAB_SIGNED, secret=WHSEC)
        headers["webhook-id"] = ""
        assert refusal(GITLAB_SIGNED, headers, secrets=(WHSEC,)).reason == "bad_id"

    @pytest.mark.parametrize("secret", ["whsec_", "whsec_not base64", "whsec_YWJ"])
    def test_a_signing_token_that_is_not_base64_is_unusable(self, secret: str) -> None:
        headers = headers_of(GITLAB_SIGNED)
        found = refusal(GITLAB_SIGNED, headers, secrets=(secret,))
        assert found.reason == "unusable_secret"
        assert "must continue in base64" in found.explanation
        with pytest.raises(ValueError, match="can't be one of"):
            sign(GITLAB_SIGNED, secret, BODY, now=NOW, delivery_id=ID, event="push")

    def test_a_signing_token_is_decoded_and_any_other_secret_taken_as_it_is(self) -> None:
        assert key_of(GITLAB_SIGNED, WHSEC) == b"0123456789abcdef0123456789abcdef"
        assert key_of(GITLAB_SIGNED, SECRET) == SECRET.encode()
        assert key_of(GITHUB, WHSEC) == WHSEC.encode()

    def test_the_event_is_signed_into_its_own_header(self) -> None:
        headers = headers_of(GITLAB, event="merge_request")
        assert headers["x-gitlab-event"] == "Merge Request Hook"


class TestGeneric:
    def test_a_prefix_is_refused(self) -> None:
        found = refusal(V1, {"x-webhook-signature": f"sha256={HEX}"})
        assert "bare signature" in found.explanation

    def test_a_stale_v2_is_not_saved_by_a_good_v1(self) -> None:
        headers = headers_of(V2, now=NOW - 900) | headers_of(V1)
        preset = detect(headers)
        assert preset == V2
        assert refusal(preset, headers).reason == "stale_timestamp"

    def test_a_v2_without_time_is_not_saved_by_a_good_v1(self) -> None:
        headers = {"x-webhook-signature-v2": HEX} | headers_of(V1)
        assert refusal(detect(headers), headers).reason == "missing_timestamp"

    def test_a_time_can_not_be_moved_into_the_body(self) -> None:
        headers = headers_of(V2)
        headers["x-webhook-timestamp"] = "170000000"
        body = b"0." + BODY
        assert isinstance(verify(V2, headers, body=body, now=170_000_000), Refused)


class TestExplanations:
    def test_a_pinned_source_says_what_came_instead(self) -> None:
        found = refusal(GITLAB, headers_of(GITHUB))
        assert "X-Gitlab-Token is missing" in found.explanation
        assert "X-Hub-Signature-256" in found.explanation

    def test_an_unsigned_request_is_told_what_would_do(self) -> None:
        found = unrecognised({"x-hub-signature-256": "", "content-type": "application/json"})
        assert found.reason == "missing_signature"
        assert "X-Gitlab-Token" in found.explanation
        assert "X-Hub-Signature-256 is there but empty" in found.explanation


@given(value=st.text(max_size=80), stamp=st.text(max_size=20), delivery_id=st.text(max_size=20))
def test_no_header_breaks_a_verifier(value: str, stamp: str, delivery_id: str) -> None:
    for preset in (*ALL, SLACK, STRIPE):
        headers = {preset.header: value, "webhook-id": delivery_id}
        if preset.timestamp and not preset.timestamp.part:
            headers[preset.timestamp.header] = stamp
        assert isinstance(verify(preset, headers), Refused)


@given(body=st.binary(max_size=200), secret=st.binary(min_size=1, max_size=40))
def test_whatever_the_body_and_the_secret_the_round_trip_holds(body: bytes, secret: bytes) -> None:
    text = base64.b64encode(secret).decode()
    for preset in (*ALL, SLACK, STRIPE, SHOPIFY, VERCEL, MILLISECONDS):
        headers = headers_of(preset, secret=text, body=body)
        assert verify(preset, headers, secrets=(text,), body=body) == Verified(preset)
