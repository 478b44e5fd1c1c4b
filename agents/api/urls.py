"""The addresses of spec 002, below ``/agents/``."""

from django.urls import path

from .artifacts import ArtifactsView, ArtifactView, ProposeSwitchView
from .conversations import ConversationsView, ConversationView
from .deliveries import AcknowledgeView, DeliveriesView
from .events import EventsView
from .keys import PublicKeyView
from .manifest import ManifestView
from .relations import RelationsView, RelationView
from .tokens import RotateTokenView, TokensView, TokenView
from .views import DeliveryLogView, MessagesView, RecoverView

# Text and not <uuid:…>: what is no id gets the API's JSON 404, too.
urlpatterns = [
    path("<agent_id>/connection/recover", RecoverView.as_view(), name="agent-recover"),
    path("<agent_id>/delivery-logs", DeliveryLogView.as_view(), name="agent-delivery-logs"),
    path("<agent_id>/deliveries", DeliveriesView.as_view(), name="agent-deliveries"),
    path("<agent_id>/deliveries/ack", AcknowledgeView.as_view(), name="agent-deliveries-ack"),
    path("<agent_id>/messages", MessagesView.as_view(), name="agent-messages"),
    path("<agent_id>/conversations", ConversationsView.as_view(), name="agent-conversations"),
    path(
        "<agent_id>/conversations/<conversation_id>",
        ConversationView.as_view(),
        name="agent-conversation",
    ),
    path("<agent_id>/public-key", PublicKeyView.as_view(), name="agent-public-key"),
    path("<agent_id>/tokens", TokensView.as_view(), name="agent-tokens"),
    path("<agent_id>/tokens/rotate", RotateTokenView.as_view(), name="agent-rotate-token"),
    path("<agent_id>/tokens/<token_id>", TokenView.as_view(), name="agent-token"),
    path("<agent_id>/connection/switch", ProposeSwitchView.as_view(), name="agent-switch"),
    path("<agent_id>/artifacts", ArtifactsView.as_view(), name="agent-artifacts"),
    path("<agent_id>/artifacts/<artifact_id>", ArtifactView.as_view(), name="agent-artifact"),
    path("<agent_id>/manifest", ManifestView.as_view(), name="agent-manifest"),
    path("<agent_id>/relations", RelationsView.as_view(), name="agent-relations"),
    path("<agent_id>/relations/<relation_id>", RelationView.as_view(), name="agent-relation"),
    path("<agent_id>/events", EventsView.as_view(), name="agent-events"),
]
