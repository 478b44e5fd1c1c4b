"""Sealed envelopes: what the gateway seals, the SDK opens; what it did not, it refuses."""

import base64
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings

from agent_sdk import CannotOpen, InboundMessage, InvalidBody, Opener, generate_key_pair
from agent_sdk.envelopes import ASK_EVERY
from agents.models import Agent
from agents.sealing import seal
from tests.agents.conftest import make_message
from vault.signing import rotate_signing_key, signing_keys

from .conftest import MakeDispatcher
from .gateway import AGENT_ID, Gateway, delivery

PRIVATE_KEY, PUBLIC_KEY = generate_key_pair()
CLEAR = b'{"version":"v1.0","id":"m1"}'


@pytest.fixture(autouse=True)
def _keys(settings: Settings, tmp_path: Path) -> None:
    settings.KEYS_DIR = tmp_path / "keys"


def gateway_keys() -> list[str]:
    return [base64.b64encode(key.public).decode() for key in signing_keys()]


def sealing_agent() -> Agent:
    return Agent(id=AGENT_ID, name="sealing", public_key=PUBLIC_KEY)


def opener(**options: Any) -> Opener:
    given = {"private_key": PRIVATE_KEY, "gateway_keys": gateway_keys()} | options
    return Opener(str(AGENT_ID), **given)


def altered(**fields: Any) -> bytes:
    envelope = json.loads(seal(CLEAR, AGENT_ID, PUBLIC_KEY))
    return json.dumps(envelope | fields).encode()


def flipped(name: str) -> bytes:
    envelope = json.loads(seal(CLEAR, AGENT_ID, PUBLIC_KEY))
    content = bytearray(base64.b64decode(envelope[name]))
    content[0] ^= 1
    return json.dumps(envelope | {name: base64.b64encode(content).decode()}).encode()


def test_a_sealed_envelope_is_opened() -> None:
    assert opener().open(seal(CLEAR, AGENT_ID, PUBLIC_KEY)) == {"version": "v1.0", "id": "m1"}


def test_a_clear_one_is_read_as_well() -> None:
    assert opener().open(CLEAR) == {"version": "v1.0", "id": "m1"}


@pytest.mark.parametrize("name", ["enc", "ciphertext", "signature"])
def test_an_altered_envelope_is_refused_by_its_signature(name: str) -> None:
    with pytest.raises(InvalidBody, match="signature"):
        opener().open(flipped(name))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"enc": "%"}, "enc"),
        ({"ciphertext": None}, "ciphertext"),
        ({"signature": 7}, "signature"),
        ({"signature": ""}, "signature"),
        ({"version": "v1.2"}, r"v1\.2"),
        ({"version": None}, "None"),
    ],
)
def test_a_malformed_envelope_is_refused(fields: Mapping[str, Any], said: str) -> None:
    with pytest.raises(InvalidBody, match=said):
        opener().open(altered(**fields))


def test_what_is_sealed_for_another_agent_is_refused() -> None:
    with pytest.raises(InvalidBody, match="signature"):
        opener().open(seal(CLEAR, "01930b1e-0000-7000-8000-000000000000", PUBLIC_KEY))


def test_what_is_sealed_in_a_seal_is_refused() -> None:
    twice = seal(seal(CLEAR, AGENT_ID, PUBLIC_KEY), AGENT_ID, PUBLIC_KEY)
    with pytest.raises(InvalidBody, match=r"v1\.1"):
        opener().open(twice)


def test_without_the_right_private_key_it_may_be_opened_later() -> None:
    sealed = seal(CLEAR, AGENT_ID, PUBLIC_KEY)
    with pytest.raises(CannotOpen, match="no private_key"):
        opener(private_key=None).open(sealed)
    with pytest.raises(CannotOpen, match="another key"):
        opener(private_key=generate_key_pair()[0]).open(sealed)


def test_a_key_that_is_none_is_named_and_not_quoted() -> None:
    with pytest.raises(ValueError, match="private_key") as caught:
        opener(private_key="my-private-key")
    assert "my-private-key" not in str(caught.value)


def test_without_the_extra_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    sealed = seal(CLEAR, AGENT_ID, PUBLIC_KEY)
    sealing = opener()
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.hpke", None)
    monkeypatch.delattr("cryptography.hazmat.primitives.hpke")
    with pytest.raises(CannotOpen, match=r"\[sealed\]"):
        sealing.open(sealed)


def test_pinned_keys_are_the_only_ones() -> None:
    pinned = opener()
    rotate_signing_key(retire_old=False)
    with pytest.raises(CannotOpen, match="not known"):
        pinned.open(seal(CLEAR, AGENT_ID, PUBLIC_KEY))


def test_a_new_key_of_the_gateway_is_asked_for_and_a_forgers_only_once_a_minute(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    def fetch() -> list[str]:
        asked.append(1)
        return gateway_keys()

    asking = opener(gateway_keys=(), fetch_keys=fetch)
    clock = 1000.0
    monkeypatch.setattr("agent_sdk.envelopes.time.monotonic", lambda: clock)
    asking.open(seal(CLEAR, AGENT_ID, PUBLIC_KEY))
    asking.open(seal(CLEAR, AGENT_ID, PUBLIC_KEY))
    assert len(asked) == 1
    for _forgery in range(3):
        with pytest.raises(CannotOpen, match="not known"):
            asking.open(altered(signer="0" * 16))
    assert len(asked) == 1
    rotate_signing_key(retire_old=False)
    clock += ASK_EVERY + 1
    asking.open(seal(CLEAR, AGENT_ID, PUBLIC_KEY))
    assert len(asked) == 2


def test_the_dispatcher_opens_what_is_sealed_with_keys_that_the_gateway_tells(
    make_dispatcher: MakeDispatcher, gateway: Gateway, got: list[InboundMessage]
) -> None:
    headers, body = delivery(sealing_agent())
    assert make_message().text.encode() not in body
    assert make_dispatcher(private_key=PRIVATE_KEY).handle(headers, body).status == 200
    assert got[0].text == make_message().text
    assert gateway.count("public-key") == 1


def test_the_dispatcher_lets_come_again_what_it_has_no_key_for(
    make_dispatcher: MakeDispatcher, gateway: Gateway
) -> None:
    sealed = delivery(sealing_agent())
    assert make_dispatcher().handle(*sealed).status == 503
    gateway.away = True
    assert make_dispatcher(private_key=PRIVATE_KEY).handle(*sealed).status == 503
