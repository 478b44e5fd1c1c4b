"""Hermes' settings with the usual view's addresses."""

from hermes_site.settings import *  # noqa: F403

ROOT_URLCONF = "bench.usual.application"
MIDDLEWARE = ["django.middleware.common.CommonMiddleware"]
