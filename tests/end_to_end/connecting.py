"""What an operator does before anything can be sent: an agent is connected, a route made.

These run inside the installation: see `Gateway.python`.
"""

from typing import Any

from tests.gateway.process import Gateway

# Of every agent here: base64 of 32 bytes, as spec 002 asks.
SECRET = "ZW5kLXRvLWVuZC1lbmQtdG8tZW5kLWVuZC10by1lbmQ="

_CONNECT = """
from agents.models import Agent
from agents.services import confirm_switch, default_agent, issue_token, propose_switch
name = {name!r}
agent = Agent.objects.create(name=name) if name else default_agent()
proposal = propose_switch(agent, "webhook", url={url!r}, secret={secret!r})
confirm_switch(proposal, by="a test")
result = {{"id": str(agent.pk), "token": issue_token(agent), "lane": agent.name}}
"""

_ROUTE = """
from agents.models import Agent
from routes.models import Route
name = {agent!r}
agent = Agent.objects.get(name=name) if name else None
Route.objects.create(name={name!r}, agent=agent, rate_limit=0, prompt={prompt!r}, **{fields!r})
"""


def connect(gateway: Gateway, url: str, name: str = "") -> dict[str, str]:
    """Switch an agent, by default the default one, to webhook mode; return id, token and lane."""
    made: dict[str, str] = gateway.python(_CONNECT.format(name=name, url=url, secret=SECRET))
    return made


def add_route(
    gateway: Gateway, name: str, agent: str = "", prompt: str = "PR #{number}", **fields: Any
) -> None:
    """Make a route without a rate limit, signed with WEBHOOK_SECRET."""
    gateway.python(_ROUTE.format(name=name, agent=agent, prompt=prompt, fields=fields))
