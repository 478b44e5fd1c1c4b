"""Agents in the admin, with what belongs to them."""

from .agent import AgentAdmin
from .artifact import ArtifactAdmin
from .conversation import ConversationAdmin
from .relation import RelationAdmin

__all__ = ["AgentAdmin", "ArtifactAdmin", "ConversationAdmin", "RelationAdmin"]
