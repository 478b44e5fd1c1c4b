"""Envelopes v1.1: sealed for the agent's key, signed by the gateway's."""

import base64
import json
from typing import Any
from uuid import UUID

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from django.core.exceptions import ValidationError
from pytest_django import Settings

from agents import envelope, wire
from agents.models import Agent
from agents.sealing import check_public_key, context, read_public_key, seal
from vault.signing import key_id, signing_keys

from .conftest import make_message
from .hpke import open_base

AGENT_ID = UUID("01930b1e-7900-7000-8000-000000000009")
PRIVATE = X25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = PRIVATE.public_key().public_bytes_raw()
PUBLIC_KEY = base64.b64encode(PUBLIC).decode()


def of(sealed: dict[str, Any], name: str) -> bytes:
    return base64.b64decode(sealed[name], validate=True)


def opened(sealed: dict[str, Any], agent_id: UUID = AGENT_ID) -> bytes:
    return open_base(
        of(sealed, "enc"),
        of(sealed, "ciphertext"),
        bytes(range(32)),
        context(agent_id, PUBLIC),
        b"",
    )


def test_the_reference_opens_the_vector_of_rfc_9180() -> None:
    # A.2.1, sequence number 0.
    plain = open_base(
        bytes.fromhex("1afa08d3dec047a643885163f1180476fa7ddb54c6a8029ea33f95796bf2ac4a"),
        bytes.fromhex(
            "1c5250d8034ec2b784ba2cfd69dbdb8af406cfe3ff938e131f0def8c8b60b4db21993c62ce81883d2dd1"
            "b51a28"
        ),
        bytes.fromhex("8057991eef8f1f1af18f4a9491d16a1ce333f695d4db8e38da75975c4478e0fb"),
        bytes.fromhex("4f6465206f6e2061204772656369616e2055726e"),
        b"Count-0",
    )
    assert plain == b"Beauty is truth, truth beauty"


def test_what_is_sealed_is_opened_by_the_reference() -> None:
    sealed = json.loads(seal(b"hello", AGENT_ID, PUBLIC_KEY))
    assert opened(sealed) == b"hello"


def test_the_envelope_names_its_version_recipient_and_signer() -> None:
    sealed = json.loads(seal(b"hello", AGENT_ID, PUBLIC_KEY))
    assert list(sealed) == ["version", "recipient", "enc", "ciphertext", "signer", "signature"]
    assert sealed["version"] == "v1.1"
    assert sealed["recipient"] == key_id(PUBLIC)
    assert sealed["signer"] == signing_keys()[0].id
    assert len(of(sealed, "enc")) == 32


def test_the_gateway_signs_agent_key_and_sealed_text() -> None:
    sealed = json.loads(seal(b"hello", AGENT_ID, PUBLIC_KEY))
    signed = b"hashee-envelope-v1.1\n" + str(AGENT_ID).encode() + b"\n" + PUBLIC
    signed += of(sealed, "enc") + of(sealed, "ciphertext")
    verifier = Ed25519PublicKey.from_public_bytes(signing_keys()[0].public)
    verifier.verify(of(sealed, "signature"), signed)


def test_what_is_sealed_for_one_agent_is_not_opened_as_anothers() -> None:
    sealed = json.loads(seal(b"hello", AGENT_ID, PUBLIC_KEY))
    with pytest.raises(InvalidTag):
        opened(sealed, UUID(int=1))


def test_the_same_is_never_sealed_alike_twice() -> None:
    assert seal(b"hello", AGENT_ID, PUBLIC_KEY) != seal(b"hello", AGENT_ID, PUBLIC_KEY)


def test_an_agent_with_a_public_key_gets_sealed_envelopes_and_another_clear_ones() -> None:
    message = make_message()
    clear = Agent(id=AGENT_ID, name="clear")
    assert wire.body_for(message, clear) == wire.body(message)
    sealing = Agent(id=AGENT_ID, name="sealing", public_key=PUBLIC_KEY)
    body = json.loads(wire.body_for(message, sealing))
    sealed = json.loads(base64.b64decode(body["wire_envelope"]))
    assert opened(sealed) == envelope.content(message)
    assert message.text not in json.dumps(body | sealed)
    assert body["metadata"] == json.loads(wire.body(message))["metadata"]


@pytest.mark.parametrize(
    "text",
    ["", "%%%", "AAAA", base64.b64encode(bytes(31)).decode(), base64.b64encode(bytes(33)).decode()],
)
def test_what_is_no_public_key_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        check_public_key(text)


@pytest.mark.parametrize("point", [bytes(32), b"\x01" + bytes(31)])
def test_a_point_from_which_no_secret_comes_is_refused(point: bytes) -> None:
    with pytest.raises(ValidationError, match="sealed for"):
        check_public_key(base64.b64encode(point).decode())


def test_a_public_key_may_be_url_safe() -> None:
    key = X25519PrivateKey.from_private_bytes(b"\x07" * 32).public_key().public_bytes_raw()
    assert read_public_key(base64.urlsafe_b64encode(key).decode()) == key


def test_with_keys_from_the_settings_the_first_one_signs(settings: Settings) -> None:
    first, second = (base64.b64encode(bytes([number] * 32)).decode() for number in (1, 2))
    settings.SIGNING_KEYS = [first, second]
    sealed = json.loads(seal(b"hello", AGENT_ID, PUBLIC_KEY))
    assert signing_keys()[0].id == sealed["signer"]
    assert len(signing_keys()) == 2
