"""Structured logs: one JSON object a line, for LOG_FORMAT=json.

What a line is about is told by the line itself: our messages say "delivery %s …", "route %s: …",
and that word and its argument become a field. So no call has to name its ids twice. A field given
with ``extra`` counts before that.
"""

import json
import logging
import os
import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

#: What a line may be about; in messages and in ``extra``.
SUBJECTS = ("delivery", "trace", "event", "route", "agent", "channel", "lane", "artifact")
_PLACEHOLDER = re.compile(r"%(?P<kind>[a-zA-Z%]|[-#0 +]*\d*(?:\.\d+)?[a-zA-Z])")
_SUBJECT = re.compile(rf"\b({'|'.join(SUBJECTS)}) $", re.IGNORECASE)

#: Which process of the gateway this is; the supervisor tells its children.
PROCESS = "HERMES_PROCESS"


class JsonFormatter(logging.Formatter):
    """Writes time, level, logger and message, and what the line is about where that is known."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line of JSON."""
        line: dict[str, Any] = {
            "time": _time(record.created),
            "level": record.levelname,
            "logger": record.name,
            "process": os.environ.get(PROCESS, ""),
            "message": record.getMessage(),
        }
        line |= _told_by(record)
        line |= {name: str(value) for name in SUBJECTS if (value := record.__dict__.get(name))}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            line["stack"] = self.formatStack(record.stack_info)
        return _dumped(line)


def as_json(line: bytes, process: str) -> bytes:
    """Return a line that a process printed as one line of JSON; one that is stays as it is."""
    if line.startswith(b"{") and line.endswith(b"}"):
        return line
    return _dumped(
        {
            "time": _time(datetime.now(UTC).timestamp()),
            "level": "INFO",
            "logger": "output",
            "process": process,
            "message": line.decode(errors="replace"),
        }
    ).encode()


def _dumped(line: dict[str, Any]) -> str:
    return json.dumps({name: value for name, value in line.items() if value != ""})


def _time(seconds: float) -> str:
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def _told_by(record: logging.LogRecord) -> dict[str, str]:
    arguments = record.args
    if not arguments or not isinstance(arguments, tuple) or not isinstance(record.msg, str):
        return {}
    return {
        subject: str(arguments[place])
        for subject, place in _places(record.msg)
        if place < len(arguments)
    }


@lru_cache(maxsize=1024)  # more than there are calls in the code
def _places(message: str) -> tuple[tuple[str, int], ...]:
    """Return which argument of a message is which subject."""
    found = []
    place = 0
    for match in _PLACEHOLDER.finditer(message):
        if match["kind"].endswith("%"):
            continue
        if subject := _SUBJECT.search(message, 0, match.start()):
            found.append((subject[1].lower(), place))
        place += 1
    return tuple(found)
