from collections.abc import Callable, Iterator
from typing import Any

import pytest

from agent_sdk import InboundMessage, WebhookDispatcher
from tests.agents.conftest import SECRET

from .gateway import AGENT_ID, TOKEN, Gateway, serve

MakeDispatcher = Callable[..., WebhookDispatcher]


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    gateway = Gateway()
    server = serve(gateway)
    yield gateway
    server.shutdown()
    server.server_close()


@pytest.fixture
def got() -> list[InboundMessage]:
    """What the handler was given."""
    return []


@pytest.fixture
def make_dispatcher(gateway: Gateway, got: list[InboundMessage]) -> MakeDispatcher:
    """A function that makes a dispatcher; keywords are its options."""

    def make(**options: Any) -> WebhookDispatcher:
        given: dict[str, Any] = {
            "agent_id": str(AGENT_ID),
            "token": TOKEN,
            "secret": SECRET,
            "base_url": gateway.url,
            "on_message": got.append,
            "auto_recover": False,
        }
        return WebhookDispatcher(**(given | options))

    return make
