"""What was said before in a conversation, as a chat endpoint is told of it."""

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

import orjson

from agents.models import Agent
from agents.selectors import LOOK_BACK
from deliveries.models import Delivery, Event, Payload
from deliveries.outcomes import Message

from .messages import MESSAGE

HISTORY_LIMIT = 200_000  # characters of all of them together; the oldest are left out
ANSWER = "answer:"  # what an answer's dedupe key begins with; the delivery's id follows

Turn = dict[str, str]  # {"role": "user" or "assistant" …, "content": text}


def earlier(agent: Agent, message: Message, most: int) -> list[Turn]:
    """Return at most so many of the turns of a conversation before a message, oldest first.

    They are what the agent got there and answered, and what it said of itself. What never
    reached it is left out. The ledger has no index by conversation: what the agent got is looked
    for among its latest deliveries, what it said by the chains of these.
    """
    # An event that is a conversation of its own has nothing before it.
    if most <= 0 or message.conversation_id in (None, message.event_id):
        return []
    asked = _asked(agent, message, most)
    if not asked:
        return []
    traces = Delivery.objects.filter(pk__in=asked).values("event__trace")
    answers = list(
        Event.objects.filter(
            trace__in=traces,
            conversation_id=message.conversation_id,
            source=Event.Source.AGENT,
            type=MESSAGE,
        )
        .exclude(dedupe_key=f"{ANSWER}{message.id}")
        .order_by("-id")
        .values_list("pk", "dedupe_key")[:most]
    )
    texts = _texts([*asked, *(pk for pk, _key in answers)])
    # An answer stands behind what it answers, even if more had come in before it was given.
    said = [(pk, 0, pk, "user") for pk in asked]
    said += [(_anchor(key) or pk, 1, pk, "assistant") for pk, key in answers]
    turns = [{"role": role, "content": texts[pk]} for *_, pk, role in sorted(said) if texts.get(pk)]
    return _within(turns[-most:])


def merged(turns: Iterable[Turn]) -> list[Turn]:
    """Return turns in which nobody speaks twice in a row, and the model not first.

    The templates of some models refuse anything else.
    """
    result: list[Turn] = []
    for turn in turns:
        if result and result[-1]["role"] == turn["role"]:
            result[-1] = {**turn, "content": f"{result[-1]['content']}\n\n{turn['content']}"}
        elif turn["role"] != "assistant" or any(each["role"] == "user" for each in result):
            result.append(turn)
    return result


def _asked(agent: Agent, message: Message, most: int) -> list[UUID]:
    rows = Delivery.objects.filter(lane_id=agent.lane_id, id__lt=message.id).order_by("-id")
    columns = ("pk", "conversation_id", "status", "event_type")
    wanted = (message.conversation_id, Delivery.Status.DELIVERED, MESSAGE)
    return [pk for pk, *facts in rows.values_list(*columns)[:LOOK_BACK] if tuple(facts) == wanted][
        :most
    ]


def _anchor(dedupe_key: str) -> UUID | None:
    try:
        return UUID(dedupe_key.removeprefix(ANSWER)) if dedupe_key.startswith(ANSWER) else None
    except ValueError:
        return None


def _texts(ids: Sequence[UUID]) -> dict[UUID, str]:
    rows = Payload.objects.filter(pk__in=ids).values_list("id", "body")
    return {pk: _text(bytes(body)) for pk, body in rows}


def _text(body: bytes) -> str:
    try:
        payload: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        return ""
    text = payload.get("text") if isinstance(payload, dict) else None
    return text.strip() if isinstance(text, str) else ""


def _within(turns: list[Turn]) -> list[Turn]:
    """Return the latest of the turns that are not too long together."""
    left = HISTORY_LIMIT
    kept: list[Turn] = []
    for turn in reversed(turns):
        left -= len(turn["content"])
        if left < 0:
            break
        kept.append(turn)
    return kept[::-1]
