"""What can be done with agents; admin, REST, commands and connections call it here."""

from agents.selectors import NoDefaultAgent, default_agent

from .agents import make_default
from .artifacts import DecisionRefused, cancel
from .connection import mark_unreachable, recover
from .consequences import Consequences, describe_switch
from .conversations import conversation_id, purge_conversations
from .events import emit
from .governance import restore, suspend
from .messages import UnknownConversation, check_payload, post_message, tell_expired
from .relations import blocked, blocked_senders
from .switching import confirm_switch, propose_switch, rotate_secret
from .tokens import authenticate, issue_token, revoke_token

__all__ = [
    "Consequences",
    "DecisionRefused",
    "NoDefaultAgent",
    "UnknownConversation",
    "authenticate",
    "blocked",
    "blocked_senders",
    "cancel",
    "check_payload",
    "confirm_switch",
    "conversation_id",
    "default_agent",
    "describe_switch",
    "emit",
    "issue_token",
    "make_default",
    "mark_unreachable",
    "post_message",
    "propose_switch",
    "purge_conversations",
    "recover",
    "restore",
    "revoke_token",
    "rotate_secret",
    "suspend",
    "tell_expired",
]
