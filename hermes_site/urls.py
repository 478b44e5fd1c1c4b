"""Every address of Hermes."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularAPIView

from agents.api.objects import ObjectView
from agents.api.system import DecisionView, SystemView
from agents.pages import artifact_page
from routes.views import HealthView, WebhookView, WorkerHealthView

from .metrics import metrics
from .system_page import system

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/system/", admin.site.admin_view(system), name="admin-system"),
    path("admin/", admin.site.urls),
    path("agents/", include("agents.api.urls")),
    path("artifacts/<signed_id>", artifact_page, name="artifact"),
    path("system", SystemView.as_view(), name="system"),
    path("system/artifacts/<artifact_id>", DecisionView.as_view(), name="system-artifact"),
    path("r2/<path:object_key>", ObjectView.as_view(), name="object"),
    path("api/schema", SpectacularAPIView.as_view(permission_classes=[]), name="schema"),
    path("health", HealthView.as_view(), name="health"),
    path("health/worker", WorkerHealthView.as_view(), name="health-worker"),
    path("metrics", metrics, name="metrics"),
    path("webhooks/<path:name>", WebhookView.as_view(), name="webhook"),
]
