"""Hermes' addresses with those of this room."""

from django.contrib import admin
from django.urls import path

from hermes_site.metrics import metrics
from hermes_site.system_page import system
from hermes_site.urls import urlpatterns as ours

urlpatterns = [
    path("admin/system/", admin.site.admin_view(system), name="admin-system"),
    path("metrics", metrics, name="metrics"),
    *ours,
]
