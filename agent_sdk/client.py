"""Calls from the agent to the gateway."""

from collections.abc import Mapping
from typing import Any

import requests

TIMEOUT = 10.0  # seconds


def post_message(
    base_url: str, agent_id: str, token: str, conversation_id: str, payload: Mapping[str, Any]
) -> str:
    """Say something in a conversation; return the id of the event that the gateway stored.

    ``payload`` is ``{"type": "text", "text": …}``. Raises requests.RequestException: an
    HTTPError for a refusal, whose ``response`` tells why.
    """
    response = requests.post(
        f"{base_url.rstrip('/')}/agents/{agent_id}/messages",
        json={"conversation_id": conversation_id, "payload": payload},
        headers={"Authorization": f"Bearer {token}"},
        timeout=TIMEOUT,
        allow_redirects=False,
    )
    response.raise_for_status()
    event_id: str = response.json()["event_id"]
    return event_id
