"""What is particular to a family of signatures."""

import ast
import base64
import hmac
import inspect
import json
from dataclasses import replace
from types import ModuleType

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from routes import handshakes
from routes.presets import Preset, detect, presets
from routes.presets.record import Key, Scheme
from routes.signatures import Refused, Verified, judging, key_of, schemes, web_tokens

from .verifying import BODY, HEX, NOW, SECRET, WHSEC, headers_of, refusal, source, verify

GITHUB, GITLAB, GITLAB_SIGNED = source("github"), source("gitlab"), source("gitlab_signed")
V1, V2 = source("generic"), source("generic_v2")


class TestKeyedHashes:
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

    def test_a_prefix_where_none_belongs_is_refused(self) -> None:
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
        found = verify(V2, headers, body=b"0." + BODY, now=170_000_000)
        assert isinstance(found, Refused)

    def test_a_second_header_may_hold_the_good_one(self) -> None:
        hookdeck = source("hookdeck")
        good = headers_of(hookdeck)["x-hookdeck-signature"]
        headers = {"x-hookdeck-signature": "wrong", "x-hookdeck-signature-2": good}
        assert verify(hookdeck, headers) == Verified(hookdeck)

    def test_stripes_old_version_is_not_looked_at(self) -> None:
        stripe = source("stripe")
        headers = headers_of(stripe)
        good = headers["stripe-signature"].partition("v1=")[2]
        headers["stripe-signature"] = f"t={int(NOW)},v0={good}"
        assert isinstance(verify(stripe, headers), Refused)
        headers["stripe-signature"] = f"t={int(NOW)},v1=wrong,v0=x,v1={good}"
        assert verify(stripe, headers) == Verified(stripe)


class TestIds:
    @pytest.mark.parametrize("delivery_id", ["a.1", "", "\xe9", "密"])
    def test_an_id_that_can_not_be_signed_is_refused(self, delivery_id: str) -> None:
        headers = headers_of(GITLAB_SIGNED, WHSEC) | {"webhook-id": delivery_id}
        assert refusal(GITLAB_SIGNED, headers, secret=WHSEC).reason == "bad_id"

    def test_the_id_of_another_delivery_is_refused(self) -> None:
        headers = headers_of(GITLAB_SIGNED, WHSEC) | {"webhook-id": "another"}
        assert refusal(GITLAB_SIGNED, headers, secret=WHSEC).reason == "bad_signature"


class TestNonces:
    ZENDESK = source("zendesk")
    NONCE = "x-zendesk-webhook-signature-timestamp"

    @pytest.mark.parametrize("nonce", ["", "a b", 'a{"event":', "\xe9", "x" * 129, "a\n"])
    def test_one_that_could_be_a_piece_of_the_body_is_refused(self, nonce: str) -> None:
        headers = headers_of(self.ZENDESK) | {self.NONCE: nonce}
        assert refusal(self.ZENDESK, headers).reason == "bad_nonce"

    def test_a_body_can_not_lose_its_beginning_to_it(self) -> None:
        headers = headers_of(self.ZENDESK)
        headers[self.NONCE] += BODY[:9].decode()
        assert refusal(self.ZENDESK, headers, body=BODY[9:]).reason == "bad_nonce"


class TestTokens:
    def test_a_token_outside_ascii_works(self) -> None:
        secret = "秘密-é"
        wire = secret.encode().decode("latin-1")
        assert verify(GITLAB, {"x-gitlab-token": wire}, secret=secret) == Verified(GITLAB)

    def test_a_token_with_a_comma_works(self) -> None:
        assert verify(GITLAB, {"x-gitlab-token": "a, b"}, secret="a, b") == Verified(GITLAB)

    def test_a_secret_of_other_bytes_than_utf_8_works(self) -> None:
        secret = b"\xff\xfe key".decode("utf-8", "surrogateescape")
        assert verify(GITLAB, {"x-gitlab-token": "\xff\xfe key"}, secret=secret) == Verified(GITLAB)
        assert key_of(GITLAB, "\ud800") is None

    def test_part_of_the_token_is_not_the_token(self) -> None:
        assert isinstance(verify(GITLAB, {"x-gitlab-token": SECRET[:-1]}), Refused)

    def test_a_token_in_the_body_is_a_text_of_any_language(self) -> None:
        feishu = source("feishu_token")
        body = json.dumps({"token": "秘密-é"}).encode()
        assert verify(feishu, {}, secret="秘密-é", body=body) == Verified(feishu)

    @pytest.mark.parametrize(
        "value",
        [
            [],
            [{"clientState": SECRET}, {}],
            [{"clientState": SECRET}, {"clientState": "another"}],
            [{"clientState": "another"}, {"clientState": SECRET}],
            [{"clientState": [SECRET]}],
            [SECRET],
            SECRET,
            {"clientState": SECRET},
            None,
        ],
    )
    def test_every_item_of_a_batch_must_have_it(self, value: object) -> None:
        graph = source("microsoft_graph")
        body = json.dumps({"value": value}).encode()
        assert isinstance(verify(graph, {}, body=body), Refused)

    def test_a_batch_of_which_every_item_has_it_is_good(self) -> None:
        graph = source("microsoft_graph")
        body = json.dumps({"value": [{"clientState": SECRET}] * 3}).encode()
        assert verify(graph, {}, body=body) == Verified(graph)

    @pytest.mark.parametrize("word", ["Bearer", "bearer", "BEARER"])
    def test_the_first_word_of_authorization_is_of_any_case(self, word: str) -> None:
        bearer = source("bearer")
        assert verify(bearer, {"authorization": f"{word} {SECRET}"}) == Verified(bearer)

    @pytest.mark.parametrize("value", [SECRET, f"Basic {SECRET}", f"Bearer{SECRET}", "Bearer "])
    def test_anything_else_in_authorization_is_no_bearer_token(self, value: str) -> None:
        assert isinstance(verify(source("bearer"), {"authorization": value}), Refused)

    @pytest.mark.parametrize(
        ("secret", "pair", "good"),
        [
            ("user:pass", "user:pass", True),
            ("user:pass", "other:pass", False),
            ("user:pass", "user:pass:more", False),
            ("pass", "user:pass", True),
            ("pass", ":pass", True),
            ("pass", "pass", False),
            ("pass", "pass:", False),
        ],
    )
    def test_a_secret_without_a_colon_is_anybodys_password(
        self, secret: str, pair: str, good: bool
    ) -> None:
        value = f"Basic {base64.b64encode(pair.encode()).decode()}"
        found = verify(source("basic"), {"authorization": value}, secret=secret)
        assert isinstance(found, Verified) is good

    def test_authorization_counts_only_where_no_signature_is(self) -> None:
        token = {"authorization": f"Bearer {SECRET}"}
        found = detect(token)
        assert found is not None
        assert found.name == "bearer"
        for header in ("x-hub-signature", "x-signature-ed25519", "x-hub-signature-256"):
            other = detect(token | {header: "x"})
            assert other is None or other.scheme is not Scheme.BEARER


def web_token(key: str, header: object, claims: object) -> dict[str, str]:
    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    text = f"{part(header)}.{part(claims)}"
    signature = hmac.digest(key.encode(), text.encode(), "sha256")
    encoded = base64.urlsafe_b64encode(signature).decode().rstrip("=")
    return {"authorization": f"Bearer {text}.{encoded}"}


class TestWebTokens:
    JIRA = source("jira_app")
    HS256 = {"alg": "HS256"}  # noqa: RUF012

    @pytest.mark.parametrize("end", [NOW, NOW + 1e6, NOW - 59])
    def test_one_that_has_not_ended_is_good(self, end: float) -> None:
        headers = web_token(SECRET, self.HS256, {"exp": end, "nbf": NOW + 59})
        assert verify(self.JIRA, headers) == Verified(self.JIRA)

    @pytest.mark.parametrize(
        ("claims", "reason"),
        [
            ({"exp": NOW - 62}, "stale_timestamp"),
            ({"exp": NOW + 100, "nbf": NOW + 62}, "stale_timestamp"),
            ({}, "missing_timestamp"),
            ({"exp": "soon"}, "missing_timestamp"),
            ({"exp": True}, "missing_timestamp"),
            ({"exp": float("nan")}, "missing_timestamp"),
            ({"exp": 10**400}, "missing_timestamp"),
            ([], "missing_timestamp"),
        ],
    )
    def test_one_out_of_its_time_is_refused(self, claims: object, reason: str) -> None:
        assert refusal(self.JIRA, web_token(SECRET, self.HS256, claims)).reason == reason

    @pytest.mark.parametrize("algorithm", ["none", "RS256", "HS512", "hs256", None, 1])
    def test_it_can_not_choose_how_it_is_checked(self, algorithm: object) -> None:
        headers = web_token(SECRET, {"alg": algorithm}, {"exp": NOW + 60})
        assert refusal(self.JIRA, headers).reason == "bad_signature"

    def test_one_without_a_signature_is_refused(self) -> None:
        whole = web_token(SECRET, {"alg": "none"}, {"exp": NOW + 60})["authorization"]
        headers = {"authorization": whole.rpartition(".")[0] + "."}
        assert refusal(self.JIRA, headers).reason == "bad_signature"


class TestPublicKeys:
    DISCORD, SENDGRID = source("discord"), source("sendgrid")

    @pytest.mark.parametrize("preset", [DISCORD, SENDGRID], ids=lambda preset: preset.name)
    @pytest.mark.parametrize("secret", ["text", "00" * 31, "AA==", "-----BEGIN PUBLIC KEY-----"])
    def test_what_is_no_key_is_unusable(self, preset: Preset, secret: str) -> None:
        assert key_of(preset, secret) is None

    def test_a_key_of_another_curve_is_unusable(self) -> None:
        public = generate_private_key(SECP384R1()).public_key()
        der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        assert key_of(self.SENDGRID, base64.b64encode(der).decode()) is None

    def test_a_key_may_be_pem(self) -> None:
        private = Ed25519PrivateKey.generate()
        pem = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        key = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        headers = headers_of(self.DISCORD, key.decode())
        found = verify(self.DISCORD, headers, secret=pem.decode())
        assert found == Verified(self.DISCORD)

    def test_a_public_key_is_no_key_of_a_keyed_hash(self) -> None:
        """Anyone may know it, and would sign with it as its owner does."""
        pem = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n-----END PUBLIC KEY-----"
        for public in ("whpk_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=", pem):
            for preset in presets().values():
                if preset.scheme not in (Scheme.ED25519, Scheme.ECDSA) and not preset.variants:
                    assert key_of(preset, public) is None

    def test_a_route_that_recognises_its_sender_never_takes_a_public_key(self) -> None:
        for preset in presets().values():
            if preset.scheme in (Scheme.ED25519, Scheme.ECDSA):
                assert detect({preset.header: "x"} | dict.fromkeys(preset.marks, "x")) is None


class TestStandardWebhooks:
    STANDARD = source("standard_webhooks")

    def pair(self) -> tuple[str, str]:
        private = Ed25519PrivateKey.generate()
        seed = private.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
        public = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        both = base64.b64encode(seed + public).decode()
        return f"whsk_{both}", f"whpk_{base64.b64encode(public).decode()}"

    def test_a_public_key_verifies_what_the_private_one_signed(self) -> None:
        private, public = self.pair()
        headers = headers_of(self.STANDARD, private)
        assert headers["webhook-signature"].startswith("v1a,")
        assert verify(self.STANDARD, headers, secret=public) == Verified(self.STANDARD)
        assert isinstance(verify(self.STANDARD, headers, secret=self.pair()[1]), Refused)
        assert isinstance(verify(self.STANDARD, headers, secret=private), Refused)

    def test_both_versions_may_stand_in_one_header(self) -> None:
        private, public = self.pair()
        asymmetric, keyed = (headers_of(self.STANDARD, one) for one in (private, WHSEC))
        both = f"{asymmetric['webhook-signature']} {keyed['webhook-signature']}"
        headers = keyed | {"webhook-signature": both}
        for secret in (public, WHSEC):
            assert verify(self.STANDARD, headers, secret=secret) == Verified(self.STANDARD)

    def test_a_secret_is_decoded_or_taken_as_it_is(self) -> None:
        assert key_of(GITLAB_SIGNED, WHSEC) == b"0123456789abcdef0123456789abcdef"
        assert key_of(GITLAB_SIGNED, SECRET) == SECRET.encode()
        assert key_of(GITHUB, WHSEC) == WHSEC.encode()
        assert key_of(replace(V1, key=Key.HEX), "0aff") == b"\x0a\xff"
        assert key_of(replace(V1, key=Key.BASE64), "Cv8=") == b"\x0a\xff"

    @pytest.mark.parametrize("secret", ["whsec_", "whsec_not base64", "whsec_YWJ"])
    def test_one_that_is_not_base64_is_unusable(self, secret: str) -> None:
        found = refusal(GITLAB_SIGNED, headers_of(GITLAB_SIGNED), secret=secret)
        assert found.reason == "unusable_secret"
        assert "must continue in base64" in found.explanation


@pytest.mark.parametrize(
    "module", [schemes, judging, web_tokens, handshakes], ids=lambda module: module.__name__
)
def test_nothing_secret_is_compared_with_an_equals_sign(module: ModuleType) -> None:
    """An equals sign takes the longer, the more of a guess is right."""
    secret = {"claimed", "expected", "secret", "token", "key", "pair", "signature"}
    compared = [
        operand.id
        for node in ast.walk(ast.parse(inspect.getsource(module)))
        if isinstance(node, ast.Compare)
        and any(isinstance(one, ast.Eq | ast.NotEq) for one in node.ops)
        for operand in (node.left, *node.comparators)
        if isinstance(operand, ast.Name)
    ]
    assert not secret & set(compared)
    assert "compare_digest" in inspect.getsource(module)
