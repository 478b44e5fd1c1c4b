"""The ledger: events, deliveries, attempts; and the engine's own few tables."""

from .delivery import Attempt, Delivery
from .engine import Lane, Runner
from .event import DedupeKey, Event, Payload

__all__ = ["Attempt", "DedupeKey", "Delivery", "Event", "Lane", "Payload", "Runner"]
