"""Hours in a moment: events come in, and time goes from one attempt to the next.

Runs inside an installation: see `Gateway.python`.
"""

from datetime import timedelta

import time_machine
from django.conf import settings
from django.db.models import Min
from django.test import Client
from django.utils import timezone

from deliveries.models import Attempt, Delivery
from deliveries.runner import run_until_idle

from .senders import PULL_REQUEST, github

# The ladder takes less than this, so that it ends in the past, and what waits has not expired.
AGO = timedelta(hours=9)


def climb(*routes: str) -> dict[str, list[float]]:
    """Post an event to each route, send until no attempt is planned.

    Returns when each attempt began, in unix time, by route.
    """
    with time_machine.travel(timezone.now() - AGO, tick=False) as clock:
        for route in routes:
            _post(route)
        while True:
            run_until_idle()
            planned = Delivery.objects.aggregate(first=Min("next_attempt_at"))["first"]
            if planned is None:
                break
            clock.move_to(planned)
    began: dict[str, list[float]] = {route: [] for route in routes}
    attempts = Attempt.objects.filter(delivery__event__route__in=routes).order_by("number")
    for route, moment in attempts.values_list("delivery__event__route", "started_at"):
        began[route].append(moment.timestamp())
    return began


def _post(route: str) -> None:
    headers = github("pull_request", PULL_REQUEST, settings.WEBHOOK_SECRET)
    kind = headers["Content-Type"]
    sender = Client(SERVER_NAME="localhost")
    answer = sender.post(f"/webhooks/{route}", PULL_REQUEST, content_type=kind, headers=headers)
    assert answer.status_code == 202, answer.content
