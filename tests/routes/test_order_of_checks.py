"""In which order a request is checked, and what is answered, to the letter.

The order is the reference receiver's (facts/hermes-agent.md §2, §3), but for the rate limit, which
comes last: only what is kept spends it (docs/migration.md). Whoever fails two checks hears of the
first.
"""

from collections.abc import Mapping
from itertools import combinations
from types import MappingProxyType
from typing import Any

import pytest
from django.test import Client

from agents.models import Agent
from routes.inbound import JSON, Answer, ReadFailed
from routes.models import Route, RouteSecret
from routes.versions import bump_version

from .test_hostile import SECRET, ask
from .test_receive import signature

pytestmark = pytest.mark.django_db

BODY = b'{"event_type": "push", "n": 1}'
OTHER = b'{"event_type": "push", "n": 2}'
LIMIT = 100

# Each fault with the answer to who has it and none before it, in the order of the checks.
ANSWERS: Mapping[str, tuple[int, Mapping[str, str]]] = MappingProxyType(
    {
        "unknown route": (404, {"error": "Unknown route: elsewhere"}),
        "disabled route": (403, {"error": "Route disabled: r"}),
        "length over the limit": (413, {"error": "Payload too large"}),
        "body that breaks off": (400, {"error": "Bad request"}),
        "no secret": (403, {"error": "Webhook route is missing an HMAC secret"}),
        "wrong signature": (401, {"error": "Invalid signature"}),
        "body that is no data": (400, {"error": "Cannot parse body"}),
        "event not asked for": (200, {"status": "ignored", "event": "push"}),
        "filters not met": (200, {"status": "ignored", "reason": "filter", "route": "r"}),
        "nobody to deliver to": (503, {"error": "Route has no destination"}),
        "id that came before": (200, {"status": "duplicate", "delivery_id": "d-1"}),
        "limit spent": (429, {"error": "Rate limit exceeded"}),
    }
)


def post(body: bytes = BODY, delivery: str = "d-1", route: str = "r", **more: Any) -> Answer:
    headers = {"x-hub-signature-256": signature(body, SECRET), "x-github-delivery": delivery}
    return ask(body, headers | more.pop("headers", {}), route=route, **more)


@pytest.fixture
def route() -> Route:
    """A route that takes everything; what is limited is counted."""
    made = Route.objects.create(name="r", rate_limit=9, max_body_bytes=LIMIT)
    RouteSecret.objects.create(route=made, value=SECRET)
    return made


def answer_to(route: Route, *faults: str) -> Answer:
    """Return what a request is answered that has these faults."""
    if "id that came before" in faults:
        assert post().status == 202
    elif "limit spent" in faults:
        assert post(delivery="another").status == 202
    if "disabled route" in faults:
        route.enabled = False
    if "event not asked for" in faults:
        route.events = ["issues"]
    if "filters not met" in faults:
        route.filters = [{"field": "n", "equals": 7}]
    if "limit spent" in faults:
        route.rate_limit = 1
    route.save()
    if "no secret" in faults:
        route.secrets.all().delete()
        bump_version()
    if "nobody to deliver to" in faults:
        Agent.objects.get(is_default=True).delete()
    headers = {}
    if "length over the limit" in faults:
        headers["content-length"] = str(LIMIT + 1)
    if "wrong signature" in faults:
        headers["x-hub-signature-256"] = signature(BODY, "another secret")
    return post(
        b"{no data" if "body that is no data" in faults else BODY,
        route="elsewhere" if "unknown route" in faults else "r",
        fault=ReadFailed if "body that breaks off" in faults else None,
        headers=headers,
    )


@pytest.mark.parametrize("fault", ANSWERS)
def test_each_fault_has_its_answer(route: Route, fault: str) -> None:
    answer = answer_to(route, fault)
    assert (answer.status, answer.body) == ANSWERS[fault]
    assert answer.content_type == JSON == "application/json; charset=utf-8"
    assert ("Retry-After" in answer.headers) == (answer.status in (429, 503))


@pytest.mark.parametrize(("first", "second"), list(combinations(ANSWERS, 2)))
def test_of_two_faults_the_first_is_told(route: Route, first: str, second: str) -> None:
    answer = answer_to(route, first, second)
    assert (answer.status, answer.body) == ANSWERS[first]


def test_no_fault_is_202(route: Route) -> None:
    answer = answer_to(route)
    assert answer.status == 202
    assert answer.body == {
        "status": "accepted",
        "route": "r",
        "event": "push",
        "delivery_id": "d-1",
    }


@pytest.mark.usefixtures("route")
def test_an_id_that_came_with_another_body_is_a_conflict() -> None:
    """Not in the reference, which takes it for a duplicate."""
    assert (post().status, post(OTHER).status) == (202, 409)
    assert post(OTHER).body == {"error": "Delivery id was used with another body"}


def test_an_event_that_is_ignored_does_not_use_up_its_id(route: Route) -> None:
    assert answer_to(route, "event not asked for").status == 200
    route.events = []
    route.save()
    assert post().status == 202


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        ("/health", "get", 200),
        ("/health", "head", 200),
        ("/health", "post", 405),
        ("/webhooks/r", "get", 405),
        ("/webhooks/r", "put", 405),
        ("/webhooks/r/", "post", 404),
        ("/webhooks/R", "post", 404),
        ("/webhooks/%72?x=1", "post", 202),
    ],
)
@pytest.mark.usefixtures("route")
def test_the_surface(path: str, method: str, status: int) -> None:
    """Facts §1: percent-decoded, case counts, the query is nobody's business."""
    signed = {"X-Hub-Signature-256": signature(BODY, SECRET)}
    extra = {"data": BODY, "content_type": "text/plain"} if method in ("post", "put") else {}
    answer = getattr(Client(), method)(path, headers=signed, **extra)
    assert answer.status_code == status
    if status == 405 and "webhooks" in path:
        assert answer["Allow"] == "POST"
