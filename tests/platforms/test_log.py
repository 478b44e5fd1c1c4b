import logging

import pytest

from deliveries.outcomes import Verdict
from platforms.senders.log import Log

from .sender_case import text_message


def logged(caplog: pytest.LogCaptureFixture, text: str = "Hello", **facts: object) -> str:
    caplog.set_level(logging.INFO, logger="deliveries")
    outcome = Log().send(text_message(text, **facts))
    assert outcome.verdict == Verdict.DELIVERED
    [record] = caplog.records
    assert (record.name, record.levelname) == ("deliveries", "INFO")
    return record.getMessage()


def test_a_delivery_is_one_record_with_its_id(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="deliveries")
    message = text_message("Deploy 完了 🚀")
    outcome = Log().send(message)
    [record] = caplog.records
    assert record.getMessage() == f"delivery {message.id} message.new: Deploy 完了 🚀"
    assert vars(record)["delivery_id"] == str(message.id)
    assert outcome.request == "Deploy 完了 🚀"


def test_a_payload_without_text_is_logged_as_json(caplog: pytest.LogCaptureFixture) -> None:
    assert logged(caplog, payload={"emoji": "👍"}).endswith('{"emoji": "👍"}')


def test_control_characters_are_taken_out(caplog: pytest.LogCaptureFixture) -> None:
    said = logged(caplog, "a\x1b[31mred\x07\r\nb\x85\u2028\u202ec\td\x00")
    assert said.endswith(": a[31mred\n    bc\td")


def test_no_line_of_a_text_can_pass_for_a_record(caplog: pytest.LogCaptureFixture) -> None:
    said = logged(caplog, "x\n2026-01-01 INFO deliveries delivery forged", event_type="a\nb")
    assert all(line.startswith("    ") for line in said.splitlines()[1:])


@pytest.mark.parametrize("character", ["x", "界", "😀"])
def test_a_long_text_is_cut_at_64_kib(caplog: pytest.LogCaptureFixture, character: str) -> None:
    said = logged(caplog, character * 1_000_000)
    text = said.partition(": ")[2]
    assert 65_530 <= len(text.encode()) <= 65_536
    assert text.endswith("… [truncated]")


@pytest.mark.parametrize("text", ["", "half \ud83d pair"])
def test_any_text_can_be_logged(caplog: pytest.LogCaptureFixture, text: str) -> None:
    logged(caplog, text).encode()


def test_its_check_needs_nothing() -> None:
    assert Log().check().ok
