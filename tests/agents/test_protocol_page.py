"""docs/protocol.md says what the code does."""

import base64
import hashlib
import json
import re
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from agent_sdk import Opener
from agents import envelope, wire
from agents.event_types import WEBHOOK_EVENTS
from agents.models import StoredObject
from agents.sealing import context, seal
from agents.services.switching import SECRET_BYTES
from agents.services.tokens import MOST_LIVE
from deliveries.ladder import AGENT_LADDER

from .conftest import make_message
from .hpke import open_base

PAGE = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text()
STUB, DECODED, BODY, SEALED, _ANSWER = re.findall(r"```json\n(.*?)\n```", PAGE, re.DOTALL)
KEYS = dict(re.findall(r"^\| ([\w' ]+) \| `([\w=/+-]+)` \|$", PAGE, re.M))
VECTORS = re.findall(
    r"^\| `(.+)` \| `(\d+)` \| `([0-9a-f-]+)` \| (.+) \| `(\w{64})` \|$", PAGE, re.M
)


def test_the_example_envelope_is_what_the_gateway_makes() -> None:
    assert base64.b64decode(envelope.encode(make_message())).decode() == DECODED


def test_the_example_body_is_what_the_gateway_makes() -> None:
    assert wire.body(make_message()).decode() == BODY


def test_the_signature_vectors_hold() -> None:
    assert len(VECTORS) == 2
    for secret, timestamp, delivery_id, said, signature in VECTORS:
        body = BODY if said == "the example body above" else said.strip("`")
        assert wire.sign(secret, int(timestamp), delivery_id, body.encode()) == signature


def test_the_example_of_a_stub_is_what_the_gateway_makes() -> None:
    ref = json.loads(STUB)["ref"]
    stored = StoredObject(key=ref["object_key"].removeprefix("ref://"), size=ref["size"])
    assert wire.stub(make_message(metadata={}), stored).decode() == STUB


def test_the_sealed_vector_opens_to_the_example_with_the_sdk() -> None:
    opener = Opener(
        KEYS["agent"], KEYS["agent's private key"], gateway_keys=[KEYS["gateway's public key"]]
    )
    assert opener.open(SEALED.encode()) == json.loads(DECODED)


def test_the_sealed_vector_opens_to_the_example_by_rfc_9180_alone() -> None:
    sealed = json.loads(SEALED)
    enc, ciphertext, signature = (
        base64.b64decode(sealed[name]) for name in ("enc", "ciphertext", "signature")
    )
    private, public, gateway = (
        base64.b64decode(KEYS[name])
        for name in ("agent's private key", "agent's public key", "gateway's public key")
    )
    info = b"hashee-envelope-v1.1\n" + KEYS["agent"].encode() + b"\n" + public
    Ed25519PublicKey.from_public_bytes(gateway).verify(signature, info + enc + ciphertext)
    assert open_base(enc, ciphertext, private, info, b"").decode() == DECODED
    names = [hashlib.sha256(key).hexdigest()[:16] for key in (public, gateway)]
    assert [sealed["recipient"], sealed["signer"]] == names


def test_the_gateway_binds_envelopes_as_the_page_says() -> None:
    public = base64.b64decode(KEYS["agent's public key"])
    told = b"hashee-envelope-v1.1\n" + KEYS["agent"].encode() + b"\n" + public
    assert context(KEYS["agent"], public) == told
    assert list(json.loads(SEALED)) == list(
        json.loads(seal(b"{}", KEYS["agent"], KEYS["agent's public key"]))
    )


def test_the_event_types_of_the_page_are_those_of_the_code() -> None:
    [sentence] = re.findall(r"A webhook carries (.*?)\.\n", PAGE, re.DOTALL)
    assert set(re.findall(r"`(.+?)`", sentence)) == WEBHOOK_EVENTS


def test_the_numbers_of_the_page_are_those_of_the_code() -> None:
    assert f"{wire.BODY_LIMIT:,} bytes" in PAGE
    assert f"must carry {SECRET_BYTES} bytes" in PAGE
    assert f"with {MOST_LIVE} valid ones" in PAGE
    assert AGENT_LADDER.rungs == (0, 30, 120, 480, 1920, 7200, 21600)
    assert AGENT_LADDER.tries == 8
