"""Who is there: sockets that come and go, agents that ask for deliveries or have ceased to."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from agents.models import Agent, Connection
from agents.selectors import live_tokens
from deliveries import fetching
from deliveries.lanes import hold
from deliveries.models import Lane
from deliveries.outcomes import Outcome
from deliveries.selectors import waiting
from deliveries.transactions import engine_transaction, write_transaction

logger = logging.getLogger(__name__)

# The modes in which an agent fetches from its lane, which is held for that.
FETCHING = frozenset({Agent.Mode.WEBSOCKET, Agent.Mode.PULL})
# A socket says every 25 s that it is there (agents.sockets.consumer); one that has missed three
# has gone with its process.
SOCKET_SILENT = timedelta(seconds=80)
PULL_SILENT = timedelta(minutes=2)
# "Last seen" of an agent that asks all the time is written once in so long.
SEEN_EVERY = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Farewell:
    """Why a socket is closed: a WebSocket close code, and a sentence of up to 123 bytes."""

    code: int
    reason: str


REPLACED = Farewell(4001, "Another connection of this agent took over.")
NO_TOKEN = Farewell(4003, "The token is no longer valid.")
SUSPENDED = Farewell(4004, "The agent is suspended.")
UNREACHABLE = Farewell(4005, "The agent is unreachable: it took nothing. Connect again to recover.")
LOST = Farewell(1012, "The gateway lost sight of this connection. Connect again.")


class Unwelcome(Exception):
    """An agent can't be served in this way as things are; ``farewell`` says why."""

    def __init__(self, farewell: Farewell) -> None:
        super().__init__(farewell.reason)
        self.farewell = farewell


@dataclass(frozen=True, slots=True)
class Seat:
    """What a socket holds while it is the agent's one: ``token`` names its claims.

    ``cap`` is how many deliveries may be out at a time, ``waiting`` how many waited when it came.
    """

    agent_id: UUID
    agent_token_id: int
    lane_id: int
    token: UUID
    cap: int
    waiting: int


def connect(agent_id: UUID, agent_token_id: int) -> Seat:
    """Make a new socket the agent's one, and the agent ready; raise Unwelcome.

    1. Whoever had the seat loses it, and what was out to it is due again.
    2. An agent that was not ready begins anew: what waits on a rung is due at once.
    """
    token, now = uuid4(), timezone.now()
    with engine_transaction():
        agent = _agent(agent_id)
        if agent.connection_mode != Agent.Mode.WEBSOCKET:
            raise Unwelcome(switched(agent.connection_mode))
        before = Connection.objects.filter(agent=agent).values_list("token", flat=True).first()
        if before is not None:
            fetching.give_back(before, "The agent connected anew before it was acknowledged.")
        Connection.objects.update_or_create(
            agent=agent, defaults={"token": token, "connected_at": now, "seen_at": now}
        )
        count = _arrive(agent, now)
        transaction.on_commit(lambda: announce(agent_id))
    logger.info("Agent %s is connected; %d deliveries wait", agent_id, count)
    return Seat(agent_id, agent_token_id, agent.lane_id, token, agent.lane.cap, count)


def disconnect(
    agent_id: UUID, lane_id: int, token: UUID, outcomes: Mapping[UUID, Outcome] | None = None
) -> bool:
    """Give up a socket's seat with what it last heard; return whether it still had it.

    What it did not acknowledge is due again, at no cost.
    """
    with engine_transaction():
        fetching.settle(lane_id, outcomes or {}, token)
        had_it, _ = Connection.objects.filter(agent=agent_id, token=token).delete()
        fetching.give_back(token, "The connection ended before it was acknowledged.")
        if had_it:
            _leave(Q(pk=agent_id, connection_mode=Agent.Mode.WEBSOCKET))
    return bool(had_it)


def may_fetch(seat: Seat) -> bool:
    """Return whether a socket is still the agent's one, and the agent to be sent anything."""
    return Connection.objects.filter(
        agent=seat.agent_id,
        token=seat.token,
        agent__connection_mode=Agent.Mode.WEBSOCKET,
        agent__connection_status=Agent.Status.READY,
        agent__suspended_at=None,
    ).exists()


def note_sign(seat: Seat) -> None:
    """Note that a socket is alive."""
    now = timezone.now()
    with write_transaction():
        Connection.objects.filter(agent=seat.agent_id, token=seat.token).update(seen_at=now)
        Agent.objects.filter(pk=seat.agent_id).update(last_seen_at=now)


def farewells(seats: Mapping[UUID, Seat]) -> dict[UUID, Farewell]:
    """Return which of these sockets, by their tokens, have to go and why, in three queries."""
    agents = Agent.objects.only("connection_mode", "connection_status", "suspended_at").in_bulk(
        {seat.agent_id for seat in seats.values()}
    )
    sitting = dict(
        Connection.objects.filter(agent__in=agents).values_list("agent_id", "token"),
    )
    tokens = live_tokens(timezone.now()).filter(
        pk__in={seat.agent_token_id for seat in seats.values()}
    )
    valid = set(tokens.values_list("pk", flat=True))
    found = {}
    for token, seat in seats.items():
        agent = agents.get(seat.agent_id)
        why = (
            NO_TOKEN
            if agent is None or seat.agent_token_id not in valid
            else _farewell(agent, sitting.get(seat.agent_id), token)
        )
        if why is not None:
            found[token] = why
    return found


def _farewell(agent: Agent, sitting: UUID | None, token: UUID) -> Farewell | None:
    if agent.suspended_at is not None:
        return SUSPENDED
    if agent.connection_mode != Agent.Mode.WEBSOCKET:
        return switched(agent.connection_mode)
    if sitting is None:
        return LOST
    if sitting != token:
        return REPLACED
    return UNREACHABLE if agent.connection_status == Agent.Status.UNREACHABLE else None


def switched(mode: str) -> Farewell:
    """Return the farewell of a socket whose agent is in another mode."""
    return Farewell(4002, f"The agent is switched to {mode}.")


def note_poll(agent_id: UUID) -> int:
    """Note that an agent in pull mode asks; return its lane's id. Raises Unwelcome.

    One that was offline is ready, and what waits on a rung is due at once. Unreachable it stays
    until it is recovered.
    """
    now = timezone.now()
    agent = _agent(agent_id)
    _check_poll(agent)
    fresh = agent.last_seen_at is not None and agent.last_seen_at > now - SEEN_EVERY
    if fresh and agent.connection_status == Agent.Status.READY:
        return agent.lane_id
    with engine_transaction():
        agent = _agent(agent_id)
        _check_poll(agent)
        _arrive(agent, now)
    return agent.lane_id


def _check_poll(agent: Agent) -> None:
    if agent.connection_mode != Agent.Mode.PULL:
        raise Unwelcome(switched(agent.connection_mode))
    if agent.connection_status == Agent.Status.UNREACHABLE:
        raise Unwelcome(UNREACHABLE)


def mark_silent(now: datetime) -> int:
    """Take agents that have ceased to ask, or whose socket is gone, as offline; return how many.

    A duty of the clockwork; what is left of a killed process ends here.
    """
    gone = Connection.objects.filter(seen_at__lt=now - SOCKET_SILENT)
    rows = gone.values_list("agent_id", "agent__lane_id", "token")
    count = sum(disconnect(*row) for row in rows)
    silent = Q(
        Q(last_seen_at=None) | Q(last_seen_at__lt=now - PULL_SILENT),
        connection_mode=Agent.Mode.PULL,
    )
    seatless = Q(connection_mode=Agent.Mode.WEBSOCKET, connection=None)
    ready = Agent.objects.filter(silent | seatless, connection_status=Agent.Status.READY)
    for agent_id in ready.values_list("pk", flat=True):
        # Asked again as it is by now: it may have come meanwhile.
        count += _leave(Q(silent | seatless, pk=agent_id))
    return count


def announce(agent_id: UUID) -> None:
    """Let an agent's sockets look at their rows now; without it they do within a second.

    For after the commit of whatever ends a connection: a switch, a suspension, a revoked token.
    Reaches this process, and with REDIS_URL every other.
    """
    layer = get_channel_layer()
    if layer is None:
        return
    try:
        async_to_sync(layer.group_send)(group_of(agent_id), {"type": "look"})
    except Exception as error:  # whatever the layer is made of: it is only a hint
        logger.warning("Agent %s: its sockets could not be told to look: %s", agent_id, error)


def group_of(agent_id: UUID) -> str:
    """Return the name of an agent's sockets in the channel layer."""
    return f"agent.{agent_id}"


def _agent(agent_id: UUID) -> Agent:
    """Return an agent with its lane; raise Unwelcome when it is gone or suspended."""
    agent = Agent.objects.select_related("lane").filter(pk=agent_id).first()
    if agent is None:
        raise Unwelcome(NO_TOKEN)
    if agent.suspended_at is not None:
        raise Unwelcome(SUSPENDED)
    return agent


def _arrive(agent: Agent, now: datetime) -> int:
    """Note that an agent that fetches is there; return how many deliveries wait."""
    changes = {"last_seen_at": now}
    if agent.lane.state != Lane.State.HELD:
        hold(agent.lane_id)  # or the runners would have it
    if agent.connection_status == Agent.Status.READY:
        Agent.objects.filter(pk=agent.pk).update(**changes)
        return waiting(agent.lane_id).count()
    Agent.objects.filter(pk=agent.pk).update(
        connection_status=Agent.Status.READY, status_changed_at=now, **changes
    )
    return fetching.restart(agent.lane_id)


def _leave(which: Q) -> int:
    """Take agents that were ready as offline; return how many."""
    return Agent.objects.filter(which, connection_status=Agent.Status.READY).update(
        connection_status=Agent.Status.OFFLINE, status_changed_at=timezone.now()
    )
