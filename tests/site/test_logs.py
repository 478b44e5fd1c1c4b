"""Structured logs: one JSON object a line."""

import json
import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from hermes_site.logs import PROCESS, JsonFormatter, as_json


def written(message: Any, *arguments: object, **extra: Any) -> dict[str, Any]:
    """Return the line that a call of a logger becomes."""
    record = logging.getLogger("routes.refusals").makeRecord(
        "routes.refusals", logging.WARNING, __file__, 1, message, arguments, None, extra=extra
    )
    line = JsonFormatter().format(record)
    assert "\n" not in line
    found: dict[str, Any] = json.loads(line)
    return found


def test_a_line_has_time_level_logger_and_message() -> None:
    line = written("%s further refusals", 3)
    assert {name: line[name] for name in ("level", "logger", "message")} == {
        "level": "WARNING",
        "logger": "routes.refusals",
        "message": "3 further refusals",
    }
    age = datetime.now(UTC) - datetime.fromisoformat(line["time"])
    assert abs(age.total_seconds()) < 5


@pytest.mark.parametrize(
    ("message", "arguments", "fields"),
    [
        ("delivery %s to %s expired", ("0192", "ops"), {"delivery": "0192"}),
        ("delivery %s to channel %s", ("0192", "ops"), {"delivery": "0192", "channel": "ops"}),
        ("route %s: %s: %s", ("push", "Invalid signature", "x"), {"route": "push"}),
        ("Agent %s was switched to %s mode", ("DemoBot", "pull"), {"agent": "DemoBot"}),
        ("%d %% done, then delivery %s", (5, "0192"), {"delivery": "0192"}),
        ("%5.1f s for lane %s", (1.5, "ops"), {"lane": "ops"}),
        ("nothing of the kind", (), {}),
        ("the rerouted route %s", (7,), {"route": "7"}),
        ("subroute %s", (7,), {}),
        ("one argument is no delivery %s", ({"a": 1},), {}),
    ],
)  # fmt: skip
def test_what_a_line_is_about_is_told_by_its_words(
    message: str, arguments: tuple[Any, ...], fields: Mapping[str, str]
) -> None:
    line = written(message, *arguments)
    ours = ("delivery", "route", "agent", "channel", "lane", "trace", "event", "artifact")
    assert {name: line[name] for name in ours if name in line} == fields


def test_what_is_given_with_extra_counts_first() -> None:
    line = written("delivery %s", "0192", trace="t-1", delivery="other")
    assert (line["trace"], line["delivery"]) == ("t-1", "other")


def test_an_exception_stays_in_its_line() -> None:
    try:
        raise ValueError("line one\nline two")
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, "", 1, "failed", None, sys.exc_info())
    line = json.loads(JsonFormatter().format(record))
    assert line["message"] == "failed"
    assert line["exception"].startswith("Traceback")
    assert "line two" in line["exception"]


def test_the_line_names_its_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PROCESS, "web")
    assert written("x")["process"] == "web"


def test_a_message_that_is_no_text_is_written_as_one() -> None:
    assert written(ValueError("odd"))["message"] == "odd"


def test_what_a_process_prints_becomes_a_line() -> None:
    line = json.loads(as_json("[INFO] grüß gott \udcff".encode(errors="surrogateescape"), "web"))
    assert line["message"].startswith("[INFO] grüß gott")
    assert (line["process"], line["logger"]) == ("web", "output")


def test_a_line_that_is_json_stays_as_it_is() -> None:
    line = b'{"level": "INFO"}'
    assert as_json(line, "web") is line
