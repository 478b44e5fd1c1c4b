"""The frames of an agent, read."""

import pytest

from agents.sockets.frames import BadFrame, Ping, Say, Settle, read
from deliveries.outcomes import Verdict

ID = "01930b1e-7c00-7000-8000-000000000001"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "[]",
        "null",
        "{}",
        '{"type": 5}',
        '{"type": ["ack"]}',
        '{"type": "welcome"}',
        '{"type": "ack"}',
        '{"type": "ack", "delivery_id": 5}',
        '{"type": "ack", "delivery_id": "../etc"}',
        f'{{"type": "nack", "delivery_id": "{ID}", "retry_after": "x"}}',
        f'{{"type": "nack", "delivery_id": "{ID}", "retry_after": true}}',
        f'{{"type": "nack", "delivery_id": "{ID}", "reason": {{}}}}',
        '{"type": "message", "payload": {}}',
        '{"type": "message", "conversation_id": "x", "in_reply_to": "y"}',
        '{"type": "ping", "id": "\\ud800"}',
        "[" * 100_000,
    ],
)
def test_a_frame_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(BadFrame):
        read(text)


def settled(text: str) -> Settle:
    frame = read(text)
    assert isinstance(frame, Settle)
    return frame


def test_what_an_agent_says_of_a_delivery_is_an_outcome() -> None:
    assert settled(f'{{"type": "ack", "delivery_id": "{ID}"}}').outcome.verdict == "delivered"
    assert settled(f'{{"type": "nack", "delivery_id": "{ID}"}}').outcome.verdict == "failed"
    later = settled(f'{{"type": "nack", "delivery_id": "{ID}", "retry_after": 20}}').outcome
    assert (later.verdict, later.retry_after) == (Verdict.RETRY, 20)


@pytest.mark.parametrize(("asked", "kept"), [("0", 1), ("-5", 1), ("1e300", 3600)])
def test_a_wait_is_held_within_bounds(asked: str, kept: float) -> None:
    frame = settled(f'{{"type": "nack", "delivery_id": "{ID}", "retry_after": {asked}}}')
    assert frame.outcome.retry_after == kept


def test_an_error_says_which_frame_it_is_about() -> None:
    with pytest.raises(BadFrame) as bad:
        read('{"type": "dance", "id": 5}')
    assert bad.value.about == {"id": 5}
    with pytest.raises(BadFrame) as bad:
        read('{"type": "ack", "delivery_id": "x"}')
    assert bad.value.about == {"delivery_id": "x"}
    with pytest.raises(BadFrame) as bad:
        read(f'{{"type": "dance", "id": "{"x" * 65}"}}')
    assert bad.value.about == {}


def test_an_id_of_the_agents_own_comes_back_as_it_was() -> None:
    assert read('{"type": "ping", "id": "p-1"}') == Ping({"id": "p-1"})
    frame = read(f'{{"type": "message", "conversation_id": "{ID}", "payload": {{}}, "id": 2}}')
    assert isinstance(frame, Say)
    assert frame.about == {"id": 2}
