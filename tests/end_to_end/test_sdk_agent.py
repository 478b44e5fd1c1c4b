"""An agent made of nothing but the SDK, at a gateway of real processes.

Sealed, large, recovered, by webhook and by WebSocket, with a token that it rotates.
"""

import threading
from dataclasses import dataclass, field
from typing import Any

import pytest
import requests

from agent_sdk import (
    InboundMessage,
    SQLiteStore,
    WebhookDispatcher,
    WebSocketClient,
    generate_key_pair,
    http_server,
)
from tests.conftest import MakeGateway
from tests.gateway.process import Gateway, eventually, free_port

from . import ledger
from .connecting import SECRET, connect

pytestmark = pytest.mark.processes

LARGE = 1_500_000  # characters, of one byte each

# A message for the agent, in a conversation whose place is the log.
_SAY = """
import orjson
from agents.models import Agent, Conversation
from deliveries.models import Event
from deliveries.record import NewDelivery, NewEvent, record
from django.utils import timezone
from platforms.models import Channel
agent = Agent.objects.get(name="reviewer")
conversation, _ = Conversation.objects.get_or_create(
    agent=agent, key="a thing",
    defaults={{"channel": Channel.objects.get(name="log"), "created_at": timezone.now()}},
)
payload = {{"type": "text", "text": {text}}}
event = NewEvent(
    source=Event.Source.ROUTE, type="t", body=b"{{}}", conversation_id=conversation.pk
)
new = NewDelivery(
    event=event, lane_id=agent.lane_id, event_type="message.new", payload=payload,
    conversation_id=conversation.pk,
)
record([event], [new])
result = str(new.id)
"""

_SWITCH = """
from agents.models import Agent
from agents.services import confirm_switch, propose_switch
confirm_switch(propose_switch(Agent.objects.get(name="reviewer"), "websocket"), by="a test")
"""

_LOSE = """
from agents.models import Agent
from agents.services import mark_unreachable
result = mark_unreachable(Agent.objects.get(name="reviewer"))
"""


@dataclass
class House:
    """A gateway, and what its agent is given and gets."""

    gateway: Gateway
    port: int
    given: dict[str, Any]
    got: list[InboundMessage] = field(default_factory=list)

    def say(self, text: str) -> str:
        """Send the agent a message, which is Python for its text; return the delivery's id."""
        delivery_id: str = self.gateway.python(_SAY.format(text=text))
        return delivery_id

    def answer(self, message: InboundMessage) -> str:
        self.got.append(message)
        return f"read {len(message.text)} characters"

    def until_delivered(self, lane: str, count: int) -> None:
        def delivered() -> bool:
            states = list(ledger.by_lane(self.gateway, lane).values())
            return states == ["delivered"] * count

        eventually(delivered, 20, f"{count} deliveries to {lane}")


@pytest.fixture
def house(make_gateway: MakeGateway) -> House:
    gateway = make_gateway(OUTBOUND_ALLOW_PRIVATE="true")
    port = free_port()
    made = connect(gateway, f"http://127.0.0.1:{port}/hashee/webhook", "reviewer")
    given = {"base_url": gateway.url, "agent_id": made["id"], "token": made["token"]}
    gateway.start().wait_healthy()
    return House(gateway, port, given)


def test_a_sealed_large_message_is_fetched_opened_and_answered_by_either_connection(
    house: House, tmp_path: Any
) -> None:
    private_key, public_key = generate_key_pair()
    options = house.given | {
        "on_message": house.answer,
        "private_key": private_key,
        "dedupe": SQLiteStore(tmp_path / "seen.sqlite3"),
    }
    dispatcher = WebhookDispatcher(secret=SECRET, background=2, **options)
    dispatcher.client.set_public_key(public_key)
    server = http_server(dispatcher, house.port, "127.0.0.1")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        house.say(f"'x' * {LARGE}")
        house.until_delivered("log", 1)
    finally:
        server.shutdown()
        server.server_close()
    assert [len(message.text) for message in house.got] == [LARGE]
    kept = [path for path in (house.gateway.data / "payloads").rglob("*") if path.is_file()]
    assert len(kept) == 1
    assert b"x" * 32 not in kept[0].read_bytes()

    house.gateway.python(_SWITCH)
    house.say(f"'y' * {LARGE + 1}")
    client = WebSocketClient(**options)
    listening = threading.Thread(target=client.run)
    listening.start()
    try:
        house.until_delivered("log", 2)
    finally:
        client.stop()
        listening.join(10)
    assert [len(message.text) for message in house.got] == [LARGE, LARGE + 1]
    house.until_delivered("reviewer", 2)


def test_a_start_of_the_agent_takes_it_back_and_everything_arrives_once_and_in_order(
    house: House,
) -> None:
    assert house.gateway.python(_LOSE)
    waiting = [house.say(f"'{number}'") for number in range(3)]
    assert set(ledger.by_lane(house.gateway, "reviewer").values()) == {"pending"}

    dispatcher = WebhookDispatcher(secret=SECRET, on_message=house.answer, **house.given)
    server = http_server(dispatcher, house.port, "127.0.0.1")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        house.until_delivered("reviewer", 3)
        house.until_delivered("log", 3)
    finally:
        server.shutdown()
        server.server_close()
    assert [message.delivery_id for message in house.got] == waiting
    assert [message.text for message in house.got] == ["0", "1", "2"]


def test_an_agent_rotates_its_token_and_reads_its_log(house: House) -> None:
    dispatcher = WebhookDispatcher(
        secret=SECRET, on_message=house.answer, auto_recover=False, **house.given
    )
    client = dispatcher.client
    old = client.token
    house.say("'hello'")
    assert client.rotate_token(overlap=0) != old
    [line] = client.delivery_logs(event_type="message.new")
    assert line["agent_id"] == house.given["agent_id"]
    [conversation] = client.conversations()
    assert conversation["key"] == "a thing"
    assert client.post_message(conversation["conversation_id"], "later")
    client.token = old
    with pytest.raises(requests.HTTPError, match="401"):
        client.recover()
