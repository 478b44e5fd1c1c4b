"""The ledger in the admin: deliveries and events, to be read."""

from .delivery import DeliveryAdmin
from .event import EventAdmin

__all__ = ["DeliveryAdmin", "EventAdmin"]
