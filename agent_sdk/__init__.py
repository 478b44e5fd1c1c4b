"""What an agent author needs to take deliveries and to answer; depends on requests only."""

from .adapters import asgi, fastapi_app, flask_view, http_server, lambda_handler, wsgi
from .client import Client, post_message
from .dedupe import DedupeStore, MemoryStore, SQLiteStore
from .dispatcher import Response, WebhookDispatcher
from .envelopes import Opener, generate_key_pair
from .errors import CannotOpen, InvalidBody
from .messages import InboundMessage, Reference, parse_webhook_payload
from .signatures import verify_webhook_signature
from .websocket import ConnectionEnded, WebSocketClient

__all__ = [
    "CannotOpen",
    "Client",
    "ConnectionEnded",
    "DedupeStore",
    "InboundMessage",
    "InvalidBody",
    "MemoryStore",
    "Opener",
    "Reference",
    "Response",
    "SQLiteStore",
    "WebSocketClient",
    "WebhookDispatcher",
    "asgi",
    "fastapi_app",
    "flask_view",
    "generate_key_pair",
    "http_server",
    "lambda_handler",
    "parse_webhook_payload",
    "post_message",
    "verify_webhook_signature",
    "wsgi",
]
