"""The addresses of spec 002, below ``/agents/``."""

from django.urls import path

from .views import DeliveryLogView, MessagesView, RecoverView

# Text and not <uuid:…>: what is no id gets the API's JSON 404, too.
urlpatterns = [
    path("<agent_id>/connection/recover", RecoverView.as_view(), name="agent-recover"),
    path("<agent_id>/delivery-logs", DeliveryLogView.as_view(), name="agent-delivery-logs"),
    path("<agent_id>/messages", MessagesView.as_view(), name="agent-messages"),
]
