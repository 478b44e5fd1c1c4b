"""Hours in a moment: an event comes in, and time goes from one attempt to the next.

Runs inside an installation: see `Gateway.python`.
"""

from datetime import timedelta

import time_machine
from django.conf import settings
from django.test import Client
from django.utils import timezone

from deliveries.models import Attempt, Delivery
from deliveries.runner import run_until_idle

from .senders import PULL_REQUEST, github

# The ladder takes less than this, so that it ends in the past, and what waits has not expired.
AGO = timedelta(hours=9)


def climb(route: str) -> list[float]:
    """Post an event, send until no attempt is planned; return when each began, in unix time."""
    headers = github("pull_request", PULL_REQUEST, settings.WEBHOOK_SECRET)
    with time_machine.travel(timezone.now() - AGO, tick=False) as clock:
        sender = Client(SERVER_NAME="localhost")
        path, kind = f"/webhooks/{route}", headers["Content-Type"]
        answer = sender.post(path, PULL_REQUEST, content_type=kind, headers=headers)
        assert answer.status_code == 202, answer.content
        while True:
            run_until_idle()
            planned = Delivery.objects.get().next_attempt_at
            if planned is None:
                break
            clock.move_to(planned)
    began = Attempt.objects.order_by("number").values_list("started_at", flat=True)
    return [moment.timestamp() for moment in began]
