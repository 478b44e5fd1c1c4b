"""Filters of the delivery log."""

from datetime import datetime, timedelta
from urllib.parse import quote
from uuid import UUID

import pytest
import time_machine

from agents.models import Agent
from agents.services import issue_token
from deliveries.models import Delivery
from deliveries.selectors import first_id_of

from .conftest import deliver
from .test_api import Api

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.agents.urls")]

START = datetime.fromisoformat("2026-05-15T10:00:00+00:00")


@pytest.fixture
def api(agent: Agent) -> Api:
    """An agent with five deliveries, one a minute."""
    states = [
        ("delivered", "", "message.new"),
        ("failed", "client_error", "message.new"),
        ("unreachable", "expired", "message.new"),
        ("pending", "timeout", "relation.revoked"),
        ("skipped", "superseded", "message.new"),
    ]
    for number, (status, error_class, event_type) in enumerate(states):
        with time_machine.travel(START + timedelta(minutes=number), tick=False):
            row = deliver(agent)
        # Ids carry the time, and no time machine moves the clock that they have it from.
        own = UUID(int=first_id_of(START + timedelta(minutes=number)).int + number)
        Delivery.objects.filter(pk=row.pk).update(
            id=own, status=status, error_class=error_class, event_type=event_type
        )
    return Api(agent, issue_token(agent))


def minutes(api: Api, query: str) -> list[int]:
    """Return the deliveries of a query by the minute they were made in."""
    answer = api.call("get", f"delivery-logs?{query}")
    assert answer.status_code == 200, answer.content
    return [datetime.fromisoformat(line["created_at"]).minute for line in answer.json()]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", [3, 2, 1, 0]),
        ("status=delivered", [0]),
        ("status=failed", [1]),
        ("status=unreachable", [2]),
        ("status=pending", [3]),
        ("event_type=relation.revoked", [3]),
        ("event_type=message.new", [2, 1, 0]),
        ("event_type=unknown", []),
        ("error_class=timeout", [3]),
        ("error_class=superseded", []),
        ("since=2026-05-15T10:02:00Z", [3, 2]),
        ("until=2026-05-15T10:02:00Z", [1, 0]),
        ("since=2026-05-15T10:01:00Z&until=2026-05-15T10:03:00Z", [2, 1]),
        (f"since={quote('2026-05-15T12:02:00+02:00')}", [3, 2]),
        ("status=failed&event_type=relation.revoked", []),
    ],
)
def test_a_filter_leaves_what_it_says(api: Api, query: str, found: list[int]) -> None:
    assert minutes(api, query) == found


def test_a_filter_goes_on_over_the_pages(api: Api) -> None:
    first = api.call("get", "delivery-logs?event_type=message.new&limit=2")
    cursor = first.headers["X-Next-Cursor"]
    assert minutes(api, f"event_type=message.new&limit=2&cursor={cursor}") == [0]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("status=skipped", "status"),
        ("status=done", "status"),
        ("since=yesterday", "since"),
        ("until=2026-13-01", "until"),
        (f"event_type={'x' * 201}", "event_type"),
        (f"error_class={'x' * 41}", "error_class"),
        ("error_class=%00", "error_class"),
    ],
)
def test_a_bad_filter_names_its_field(api: Api, query: str, field: str) -> None:
    answer = api.call("get", f"delivery-logs?{query}")
    assert (answer.status_code, list(answer.json())) == (400, [field])


def test_the_dawn_of_time_is_no_server_error(api: Api) -> None:
    assert minutes(api, "since=0001-01-01T00:00:00Z") == [3, 2, 1, 0]
    assert minutes(api, "until=0001-01-01T00:00:00Z") == []
    assert minutes(api, "until=9999-12-31T23:59:59Z") == [3, 2, 1, 0]
