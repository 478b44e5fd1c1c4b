"""What one attempt remembers of its calls, and how long it has."""

import pytest

from deliveries.outcomes import Outcome
from platforms.senders.log import Log
from platforms.wire import Wire

from .fake import Answer, FakePlatform

LENT = "lent-for-an-hour"


def test_what_is_hidden_is_taken_out_of_what_was_said_and_heard(fake: FakePlatform) -> None:
    fake.script(Answer(401, {}, f"unknown: {LENT}".encode()))
    wire = Wire(Log())
    wire.hide(LENT, "")
    wire.post(f"{fake.url}/send?access_token={LENT}", {"text": LENT})
    outcome = wire.record(Outcome.failed("unauthorized", f"The token {LENT} is unknown."))
    assert LENT in fake.requests[0].body.decode()
    assert LENT not in repr(outcome)
    assert "unknown" in outcome.response


def test_hidden_after_the_call_counts_for_it_too(fake: FakePlatform) -> None:
    fake.script(Answer.json(200, {"access_token": LENT}))
    wire = Wire(Log())
    reply = wire.post(f"{fake.url}/token", {})
    wire.hide(reply.json()["access_token"])
    assert LENT not in repr(wire.record(Outcome.delivered()))


@pytest.mark.parametrize(("budget", "late"), [(10.0, False), (1.0, True), (-1.0, True)])
def test_the_time_that_is_left_is_never_less_than_none(budget: float, late: bool) -> None:
    sender = Log()
    sender.budget = budget
    wire = Wire(sender)
    assert 0.0 <= wire.left <= max(budget, 0.0)
    assert wire.is_late == late
