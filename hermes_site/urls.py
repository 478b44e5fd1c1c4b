"""Every address of Hermes."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularAPIView

from routes.views import HealthView, WebhookView, WorkerHealthView

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/", admin.site.urls),
    path("agents/", include("agents.api.urls")),
    path("api/schema", SpectacularAPIView.as_view(permission_classes=[]), name="schema"),
    path("health", HealthView.as_view(), name="health"),
    path("health/worker", WorkerHealthView.as_view(), name="health-worker"),
    path("webhooks/<path:name>", WebhookView.as_view(), name="webhook"),
]
