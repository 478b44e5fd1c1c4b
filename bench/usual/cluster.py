"""Hermes' settings with django-q2 tuned for small tasks (facts/performance.md B1)."""

from hermes_site.settings import *  # noqa: F403

Q_CLUSTER = {
    "name": "hermes",
    "orm": "default",
    "workers": 4,
    "timeout": 60,
    "retry": 90,
    "max_attempts": 1,
    "ack_failures": True,
    "save_limit": -1,
    "poll": 0.05,
    "bulk": 50,
    "queue_limit": 100,
    "scheduler": False,
}
