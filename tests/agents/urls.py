"""The agents' addresses alone, so that their tests need no other room."""

from django.urls import include, path

from agents.api.objects import ObjectView

urlpatterns = [
    path("agents/", include("agents.api.urls")),
    path("r2/<path:object_key>", ObjectView.as_view()),
]
