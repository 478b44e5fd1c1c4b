"""``POST /webhooks/<name>``: every answer of spec 001, and what is durable behind it."""

import hashlib
import hmac
import json
from datetime import timedelta
from pathlib import Path
from unittest.mock import ANY
from urllib.parse import urlencode

import pytest
import time_machine
from django.test import Client
from django.utils import timezone

from agents.models import Conversation
from deliveries.models import DedupeKey, Delivery, Event, Payload
from routes import table
from routes.models import RateWindow, Refusal, Route, RouteSecret

pytestmark = pytest.mark.django_db
FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"
PULL_REQUEST = (FIXTURES / "github" / "pull_request__opened.json").read_bytes()
MERGE_REQUEST = (FIXTURES / "gitlab" / "merge_request__open.json").read_bytes()
SECRET = "github-webhook-secret"


@pytest.fixture
def route():
    made = Route.objects.create(
        name="github-pr",
        events=["pull_request"],
        prompt="PR #{number}: {pull_request.title}",
        deliver="log",
        deliver_extra={"repo": "{repository.full_name}", "pr_number": "{number}"},
    )
    RouteSecret.objects.create(route=made, value=SECRET)
    return made


def signature(body, secret=SECRET):
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def post(
    body=PULL_REQUEST,
    *,
    name="github-pr",
    event="pull_request",
    delivery="d-1",
    content_type="application/json",
    **headers,
):
    sent = {
        "X-GitHub-Event": event,
        "X-GitHub-Delivery": delivery,
        "X-Hub-Signature-256": signature(body),
        **headers,
    }
    sent = {key: value for key, value in sent.items() if value is not None}
    return Client().post(f"/webhooks/{name}", body, content_type=content_type, headers=sent)


def test_a_signed_event_is_accepted_with_202(route):
    answer = post()
    assert answer.status_code == 202
    assert answer.json() == {
        "status": "accepted",
        "route": "github-pr",
        "event": "pull_request",
        "delivery_id": "d-1",
    }
    assert answer["Content-Type"] == "application/json; charset=utf-8"


def test_event_payload_and_delivery_are_stored_before_the_answer(route):
    post()
    event = Event.objects.get()
    assert (event.source, event.route, event.type) == ("route", "github-pr", "pull_request")
    assert event.dedupe_key == "d-1"
    assert bytes(Payload.objects.get(pk=event.pk).body) == PULL_REQUEST
    delivery = Delivery.objects.get()
    assert (delivery.event_type, delivery.status) == ("message.new", "pending")
    number = json.loads(PULL_REQUEST)["number"]
    text = json.loads(bytes(Payload.objects.get(pk=delivery.pk).body))["text"]
    assert f"PR #{number}: ⟦" in text


def test_the_conversation_knows_where_the_answer_goes(route):
    post()
    conversation = Conversation.objects.get()
    payload = json.loads(PULL_REQUEST)
    assert conversation.channel.name == "log"
    assert conversation.target == {
        "repo": payload["repository"]["full_name"],
        "pr_number": str(payload["number"]),
    }
    assert conversation.agent.is_default


def test_an_event_that_the_route_does_not_take_is_ignored(route):
    answer = post(event="push")
    assert (answer.status_code, answer.json()) == (200, {"status": "ignored", "event": "push"})
    assert not Event.objects.exists()


def test_a_ping_wakes_nobody(route):
    Route.objects.update(events=[])
    route.refresh_from_db()
    route.save()
    answer = post(event="ping")
    assert (answer.status_code, answer.json()["status"]) == (200, "ignored")


def test_the_same_id_again_is_a_duplicate(route):
    post()
    answer = post()
    assert (answer.status_code, answer.json()) == (
        200,
        {"status": "duplicate", "delivery_id": "d-1"},
    )
    assert Event.objects.count() == 1


def test_the_same_id_with_another_body_is_a_conflict_and_is_kept(route):
    post()
    other = PULL_REQUEST.replace(b"opened", b"closed")
    answer = post(other)
    assert answer.status_code == 409
    assert Refusal.objects.get().reason == "id_conflict"


def test_an_id_is_new_again_after_an_hour(route):
    with time_machine.travel(timezone.now(), tick=False) as clock:
        post()
        clock.shift(timedelta(seconds=3601))
        assert post().status_code == 202
    assert DedupeKey.objects.count() == 1


def test_ids_are_per_route(route):
    twin = Route.objects.create(name="twin", events=["pull_request"])
    RouteSecret.objects.create(route=twin, value=SECRET)
    assert [post().status_code, post(name="twin").status_code] == [202, 202]


def test_without_an_id_the_same_body_is_a_duplicate(route):
    first, second = post(delivery=None), post(delivery=None)
    assert (first.status_code, second.json()["status"]) == (202, "duplicate")


def test_an_empty_id_counts_as_none(route):
    assert post(delivery="").status_code == 202
    assert post(PULL_REQUEST.replace(b"opened", b"edited"), delivery="").status_code == 202


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({"X-Hub-Signature-256": "sha256=" + "0" * 64}, "bad_signature"),
        ({"X-Hub-Signature-256": None}, "missing_signature"),
        ({"X-Hub-Signature-256": ""}, "missing_signature"),
        ({"X-Hub-Signature-256": "sha256=é"}, "bad_signature"),
        ({"X-Hub-Signature-256": signature(PULL_REQUEST, "other")}, "bad_signature"),
        ({"X-Hub-Signature-256": signature(PULL_REQUEST).upper()}, "bad_signature"),
        ({"X-Hub-Signature-256": signature(PULL_REQUEST)[7:]}, "bad_signature"),
    ],
)
def test_a_request_that_is_not_genuine_is_refused_and_kept(route, headers, reason):
    answer = post(**headers)
    assert (answer.status_code, answer.json()) == (401, {"error": "Invalid signature"})
    refusal = Refusal.objects.get()
    assert (refusal.status, refusal.reason, refusal.route) == (401, reason, "github-pr")
    assert refusal.explanation
    assert not Event.objects.exists()


def test_a_body_that_was_changed_is_refused(route):
    answer = post(PULL_REQUEST + b" ", **{"X-Hub-Signature-256": signature(PULL_REQUEST)})
    assert answer.status_code == 401


def test_a_refusal_keeps_no_signature_and_no_secret(route):
    post(body=SECRET.encode(), **{"X-Hub-Signature-256": "sha256=" + "ab" * 32})
    kept = Refusal.objects.get()
    assert "abab" not in json.dumps(kept.headers)
    assert SECRET.encode() not in bytes(kept.body)


def test_refusals_of_a_route_are_capped(route, settings):
    settings.REFUSALS_PER_ROUTE = 3
    for number in range(5):
        post(**{"X-Hub-Signature-256": f"sha256={number}"})
    assert Refusal.objects.count() == 3


def test_an_unknown_route_is_404():
    answer = post(name="nobody")
    assert (answer.status_code, answer.json()) == (404, {"error": "Unknown route: nobody"})


def test_a_disabled_route_is_403(route):
    route.enabled = False
    route.save()
    answer = post()
    assert (answer.status_code, answer.json()) == (403, {"error": "Route disabled: github-pr"})


def test_a_route_without_a_secret_lets_nobody_in(route):
    route.secrets.all().delete()
    answer = post()
    assert answer.status_code == 403
    assert answer.json() == {"error": "Webhook route is missing an HMAC secret"}


@pytest.mark.parametrize("body", [b"", b"{bad json", b"no pairs here", b"\xff\xfe{", b"[" * 100000])
def test_a_body_that_cannot_be_read_is_400(route, body):
    answer = post(body)
    assert (answer.status_code, answer.json()) == (400, {"error": "Cannot parse body"})
    assert not Event.objects.exists()


@pytest.mark.parametrize("body", [b"[1, 2]", b'"text"', b"7", b"null"])
def test_json_that_is_no_object_is_data_too(route, body):
    assert post(body).status_code == 202


def test_the_form_that_github_posts_by_default_is_unwrapped(route):
    body = urlencode({"payload": PULL_REQUEST.decode()}).encode()
    assert post(body, content_type="application/x-www-form-urlencoded").status_code == 202
    text = json.loads(bytes(Payload.objects.get(pk=Delivery.objects.get().pk).body))["text"]
    assert json.loads(PULL_REQUEST)["pull_request"]["title"] in text
    kept = json.loads(bytes(Payload.objects.get(pk=Event.objects.get().pk).body))
    assert kept["action"] == "opened"


def test_a_body_of_exactly_the_limit_is_taken_and_one_byte_more_is_not(route):
    route.max_body_bytes = len(PULL_REQUEST)
    route.save()
    assert post().status_code == 202
    answer = post(PULL_REQUEST + b" ", delivery="d-2")
    assert (answer.status_code, answer.json()) == (413, {"error": "Payload too large"})


def test_the_minute_of_a_route_is_limited_and_says_when_to_come_back(route):
    route.rate_limit = 2
    route.save()
    with time_machine.travel(timezone.now(), tick=False):
        codes = [post(delivery=f"d-{n}").status_code for n in range(3)]
        last = post(delivery="d-3")
    assert codes == [202, 202, 429]
    assert last.json() == {"error": "Rate limit exceeded"}
    assert 1 <= int(last["Retry-After"]) <= 60


def test_the_window_slides(route):
    route.rate_limit = 1
    route.save()
    with time_machine.travel(timezone.now(), tick=False) as clock:
        assert post(delivery="a").status_code == 202
        clock.shift(59)
        assert post(delivery="b").status_code == 429
        clock.shift(2)
        assert post(delivery="b").status_code == 202


def test_what_is_not_accepted_spends_no_quota(route):
    route.rate_limit = 1
    route.save()
    post(event="push")
    post(**{"X-Hub-Signature-256": "sha256=no"})
    assert not RateWindow.objects.exists()
    assert post().status_code == 202
    assert post().json()["status"] == "duplicate"


def test_a_limited_request_may_come_again_under_its_id(route):
    route.rate_limit = 1
    route.save()
    with time_machine.travel(timezone.now(), tick=False) as clock:
        post(delivery="a")
        post(delivery="b")
        clock.shift(61)
        assert post(delivery="b").status_code == 202


def test_gitlabs_documented_event_name_matches(route):
    made = Route.objects.create(name="gitlab-mr", events=["merge_request"], deliver="log")
    RouteSecret.objects.create(route=made, value="your-gitlab-secret-token")
    answer = Client().post(
        "/webhooks/gitlab-mr",
        MERGE_REQUEST,
        content_type="application/json",
        headers={
            "X-Gitlab-Token": "your-gitlab-secret-token",
            "X-Gitlab-Event": "Merge Request Hook",
            "X-Gitlab-Event-UUID": "u-1",
        },
    )
    assert (answer.status_code, answer.json()["event"]) == (202, "merge_request")


def test_a_route_pinned_to_one_source_takes_no_other(route):
    route.preset = "gitlab"
    route.save()
    assert post().status_code == 401


def test_a_route_pinned_to_an_unknown_source_takes_nobody(route):
    Route.objects.filter(pk=route.pk).update(preset="gone")
    route.refresh_from_db()
    route.save()
    assert post().status_code == 401


def test_the_word_that_switches_checking_off_is_no_key(route, settings):
    settings.WEBHOOK_HOST = "0.0.0.0"
    route.secrets.all().delete()
    RouteSecret.objects.create(route=route, value="INSECURE_NO_AUTH")
    body = PULL_REQUEST
    signed = signature(body, "INSECURE_NO_AUTH")
    assert post(body, **{"X-Hub-Signature-256": signed}).status_code == 403


def test_an_unsigned_request_is_taken_where_checking_is_off_and_the_host_is_loopback(
    route, settings
):
    settings.WEBHOOK_HOST = "127.0.0.1"
    route.insecure_no_auth = True
    route.save()
    assert post(**{"X-Hub-Signature-256": None}).status_code == 202


def test_an_old_secret_works_until_its_time_and_not_after(route, monkeypatch):
    monkeypatch.setattr(table, "FRESH_SECONDS", 0)
    old = route.secrets.get()
    old.not_after = timezone.now() + timedelta(hours=1)
    old.save()
    RouteSecret.objects.create(route=route, value="new")
    with time_machine.travel(timezone.now(), tick=False) as clock:
        assert post(delivery="a").status_code == 202
        clock.shift(timedelta(hours=2))
        assert post(delivery="b").status_code == 401


def test_nul_and_lone_surrogates_are_stored(route):
    body = rb'{"number": 1, "pull_request": {"title": "a\u0000b \ud800 c"}}'
    assert post(body).status_code == 202
    text = json.loads(bytes(Payload.objects.get(pk=Delivery.objects.get().pk).body))["text"]
    assert "\ufffd" in text


def test_only_post_is_answered(route):
    answer = Client().get("/webhooks/github-pr")
    assert (answer.status_code, answer["Allow"]) == (405, "POST")


def test_webhooks_that_are_switched_off_answer_404(route, settings):
    settings.WEBHOOK_ENABLED = False
    route.save()
    assert post().json() == {"error": ANY}


def test_health_is_the_specifications():
    answer = Client().get("/health")
    assert answer.json() == {"status": "ok", "platform": "webhook"}


def test_the_workers_health_is_503_while_none_runs():
    assert Client().get("/health/worker").status_code == 503
