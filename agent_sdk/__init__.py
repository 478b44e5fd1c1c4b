"""What an agent author needs to take deliveries and to answer; depends on requests only."""

from .client import post_message
from .messages import InboundMessage, InvalidBody, parse_webhook_payload
from .signatures import verify_webhook_signature

__all__ = [
    "InboundMessage",
    "InvalidBody",
    "parse_webhook_payload",
    "post_message",
    "verify_webhook_signature",
]
