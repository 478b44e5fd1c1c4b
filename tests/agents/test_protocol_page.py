"""docs/protocol.md says what the code does."""

import base64
import re
from pathlib import Path

from agents import envelope, wire
from agents.connections.webhook import WEBHOOK_EVENTS
from agents.services.switching import SECRET_BYTES
from deliveries.ladder import AGENT_LADDER

from .conftest import make_message

PAGE = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text()
DECODED, BODY, _ANSWER = re.findall(r"```json\n(.*?)\n```", PAGE, re.DOTALL)
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


def test_the_event_types_of_the_page_are_those_of_the_code() -> None:
    [sentence] = re.findall(r"A webhook carries (.*?)\.\n", PAGE, re.DOTALL)
    assert set(re.findall(r"`(.+?)`", sentence)) == WEBHOOK_EVENTS


def test_the_numbers_of_the_page_are_those_of_the_code() -> None:
    assert f"{wire.BODY_LIMIT:,} bytes" in PAGE
    assert f"must carry {SECRET_BYTES} bytes" in PAGE
    assert AGENT_LADDER.rungs == (0, 30, 120, 480, 1920, 7200, 21600)
    assert AGENT_LADDER.tries == 8
