"""The events an agent can get, and which of them a webhook carries (spec 002, event types)."""

MESSAGE = "message.new"
ARTIFACT_RESPONSE = "artifact_response"
ARTIFACT_EXPIRED = "artifact.expired"
CAPABILITY_CHANGED = "agent.capability_changed"
GOVERNANCE = "agent.governance"
AUTH_EXPIRING = "auth.expiring"
SESSION_INVALIDATED = "session.invalidated"

WEBHOOK_EVENTS = frozenset(
    {
        MESSAGE,
        "relation.established",
        "relation.revoked",
        "relation.suspended",
        "relation.restored",
        ARTIFACT_RESPONSE,
        CAPABILITY_CHANGED,
    }
)
# What Hermes has no source of its own for; they come in by `POST /agents/<id>/events`.
FOREIGN_EVENTS = frozenset({"reaction.update", "group.updated", "system.group_key_rotated"})
ALL_EVENTS = (
    WEBHOOK_EVENTS
    | FOREIGN_EVENTS
    | {GOVERNANCE, ARTIFACT_EXPIRED, SESSION_INVALIDATED, AUTH_EXPIRING}
)
