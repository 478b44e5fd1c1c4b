"""What can be done with agents; admin, REST, commands and connections call it here."""

from agents.selectors import NoDefaultAgent, default_agent

from .agents import make_default
from .connection import mark_unreachable, recover
from .messages import UnknownConversation, check_payload, post_message, tell_expired
from .switching import (
    Consequences,
    SwitchRefused,
    cancel,
    confirm_switch,
    describe_switch,
    propose_switch,
)
from .tokens import authenticate, issue_token, revoke_token

__all__ = [
    "Consequences",
    "NoDefaultAgent",
    "SwitchRefused",
    "UnknownConversation",
    "authenticate",
    "cancel",
    "check_payload",
    "confirm_switch",
    "default_agent",
    "describe_switch",
    "issue_token",
    "make_default",
    "mark_unreachable",
    "post_message",
    "propose_switch",
    "recover",
    "revoke_token",
    "tell_expired",
]
