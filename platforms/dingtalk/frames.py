"""The frames of a stream: what comes, and what is said to it.

https://open-dingtalk.github.io/developerpedia/docs/learn/stream/protocol/
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

TOPIC = "/v1.0/im/bot/messages/get"
SUBSCRIPTIONS = ({"type": "CALLBACK", "topic": TOPIC},)
OK, NOT_FOUND, FAILED = 200, 404, 500


@dataclass(frozen=True, slots=True)
class Frame:
    """One message of DingTalk's side of a stream; ``data`` is the JSON text inside it."""

    type: str  # SYSTEM, EVENT or CALLBACK
    topic: str
    message_id: str
    data: str

    @property
    def content(self) -> Mapping[str, Any]:
        """Return the data as an object; an empty one if it is none."""
        return _object(self.data)

    @property
    def is_message(self) -> bool:
        """Whether somebody has written to the robot."""
        return self.type == "CALLBACK" and self.topic == TOPIC


def read_frame(text: str | bytes) -> Frame | None:
    """Return a frame taken apart; None for anything that is none."""
    document = _object(text)
    headers = document.get("headers")
    headers = headers if isinstance(headers, Mapping) else {}
    data = document.get("data")
    if not document.get("type"):
        return None
    return Frame(
        type=str(document["type"]).upper(),
        topic=str(headers.get("topic", "")),
        message_id=str(headers.get("messageId", "")),
        data=data if isinstance(data, str) else json.dumps(data or {}),
    )


def answer_to(frame: Frame, code: int = OK) -> str | None:
    """Return what is said to a frame; None for one that wants no answer.

    A ping comes back as it was. A message or an event was taken, or was not, with ``code``.
    """
    match frame.type, frame.topic:
        case "SYSTEM", "ping":
            return _answer(frame, OK, frame.data)
        case "SYSTEM", _:
            return None
        case "EVENT", _:
            return _answer(frame, OK, json.dumps({"status": "SUCCESS", "message": "success"}))
    return _answer(frame, code if frame.is_message else NOT_FOUND, json.dumps({"response": None}))


def _answer(frame: Frame, code: int, data: str) -> str:
    words = {OK: "OK", NOT_FOUND: "not found"}
    return json.dumps(
        {
            "code": code,
            "message": words.get(code, "internal error"),
            "headers": {"messageId": frame.message_id, "contentType": "application/json"},
            "data": data,
        }
    )


def _object(text: str | bytes) -> Mapping[str, Any]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}
