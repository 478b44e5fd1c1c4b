"""The agents' addresses alone, so that their tests need no other room."""

from django.urls import include, path

urlpatterns = [path("agents/", include("agents.api.urls"))]
