"""A signed test from the admin, through a real socket into the receive path."""

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from pytest_django.live_server_helper import LiveServer

from deliveries.models import Delivery, Event
from routes.models import Route
from routes.presets import presets
from routes.samples import samples
from routes.services import rotate_secret
from routes.signatures import Verifier
from routes.signatures.verdicts import Address, Verified
from routes.trials import NotSent, trial_request, trial_samples

SECRET = "a-secret-of-the-route"


def page(route: Route) -> str:
    return f"/admin/routes/route/{route.pk}/test/"


@pytest.fixture
def secret(route: Route) -> str:
    """The secret of the route."""
    return rotate_secret(route, timedelta(0), SECRET)


@pytest.fixture
def gateway(live_server: LiveServer, settings: Any) -> LiveServer:
    """A gateway where the settings say it is."""
    settings.WEBHOOK_HOST = "127.0.0.1"
    settings.WEBHOOK_PORT = urlsplit(live_server.url).port
    settings.PUBLIC_URL = "https://hermes.example.dev/gateway"
    return live_server


@pytest.mark.django_db(transaction=True)
def test_it_is_explained_then_posted_and_leads_to_the_event(
    gateway: LiveServer, operator: Client, route: Route, secret: str
) -> None:
    shown = operator.get(page(route)).content.decode()
    assert "DemoBot</strong> is woken" in shown
    assert "X-Hub-Signature-256: sha256=***" in shown
    assert secret not in shown
    assert not Event.objects.exists()

    response = operator.post(page(route), {"sample": "pull_request"}, follow=True)
    event = Event.objects.get()
    assert (event.route, event.type) == ("github-pr", "pull_request")
    assert Delivery.objects.get().event_id == event.pk
    said = response.content.decode()
    assert "The gateway answered 202" in said
    assert f"/admin/deliveries/event/{event.pk}/change/" in said
    assert LogEntry.objects.get().change_message == "Sent a signed test: pull_request."


@pytest.mark.django_db(transaction=True)
def test_what_the_route_ignores_is_marked_and_comes_to_nothing(
    gateway: LiveServer, operator: Client, route: Route, secret: str
) -> None:
    assert (
        "push (goes no further: Events of the route)" in operator.get(page(route)).content.decode()
    )
    response = operator.post(page(route), {"sample": "push"}, follow=True)
    assert "&quot;ignored&quot;" in response.content.decode()
    assert not Event.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_gateway_that_refuses_is_quoted(
    gateway: LiveServer, operator: Client, route: Route, secret: str
) -> None:
    Route.objects.filter(pk=route.pk).update(enabled=False)
    assert "it will be refused" in operator.get(page(route)).content.decode()
    response = operator.post(page(route), {"sample": "pull_request"}, follow=True)
    assert "The gateway answered 403" in response.content.decode()
    assert not Event.objects.exists()


@pytest.mark.django_db
def test_a_gateway_that_is_not_there_is_named(
    operator: Client, route: Route, secret: str, settings: Any
) -> None:
    settings.WEBHOOK_HOST, settings.WEBHOOK_PORT = "127.0.0.1", 1
    response = operator.post(page(route), {"sample": "pull_request"}, follow=True)
    said = response.content.decode()
    assert "No answer from http://127.0.0.1:1/webhooks/github-pr" in said
    assert "Is the gateway running?" in said
    assert not LogEntry.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("preset", "own", "said"),
    [
        ("github", None, "The route has no secret yet"),
        ("discord", "a" * 64, "a key that only the sender has"),
        ("svix", "whsec_no base64!", "be one of Svix"),
    ],
)
def test_where_no_test_can_be_signed_the_page_says_why(
    operator: Client, route: Route, preset: str, own: str | None, said: str
) -> None:
    Route.objects.filter(pk=route.pk).update(preset=preset)
    if own:
        rotate_secret(route, timedelta(0), own)
    shown = operator.get(page(route)).content.decode()
    assert said in shown
    assert "Send it" not in shown
    event = samples(preset)[0].event
    assert said in operator.post(page(route), {"sample": event}, follow=True).content.decode()


@pytest.mark.django_db
def test_without_the_permission_it_is_hidden_and_refused(
    person_with: Callable[..., Client], route: Route, secret: str
) -> None:
    reader = person_with("routes.view_route")
    shown = reader.get(f"/admin/routes/route/{route.pk}/change/").content.decode()
    assert "Send a signed test" not in shown
    assert reader.get(page(route)).status_code == 403
    assert reader.post(page(route), {"sample": "pull_request"}).status_code == 403


@pytest.mark.django_db
def test_a_route_of_a_file_can_be_tested_too(operator: Client, route: Route, secret: str) -> None:
    Route.objects.filter(pk=route.pk).update(origin=Route.Origin.FILE)
    assert "Send it" in operator.get(page(route)).content.decode()


ASYMMETRIC = {"discord", "sendgrid"}


@pytest.mark.django_db
@pytest.mark.parametrize("name", [name for name in presets() if name not in ASYMMETRIC])
def test_a_test_of_every_source_is_verified_and_shown_without_its_secret(
    operator: Client, route: Route, name: str, settings: Any
) -> None:
    preset = presets()[name]
    own = f"{preset.base64_secret_prefix}MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
    if preset.secret_parts:
        own = SECRETS_OF_PARTS.get(name, ":".join(["first-part", *preset.secret_parts[1:]]))
    Route.objects.filter(pk=route.pk).update(preset=name, events=[])
    rotate_secret(route, timedelta(0), own)
    route.refresh_from_db()
    response = operator.get(page(route))
    assert "Send it" in response.content.decode(), response.context.get("impossible")
    assert own not in response.content.decode()
    for sample in trial_samples(route):
        request = trial_request(route, sample)
        url = f"{settings.PUBLIC_URL}{request.url}"
        at = Address(request.method, url, urlsplit(url).query)
        found = Verifier(preset, [own]).verify(request.headers, request.body, time.time(), at)
        assert isinstance(found, Verified), found


SECRETS_OF_PARTS = {"wecom": "token:abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG:corp"}


@pytest.mark.django_db
def test_an_unsigned_route_needs_no_secret(route: Route) -> None:
    route.insecure_no_auth = True
    assert trial_request(route, trial_samples(route)[0]).body
    route.insecure_no_auth = False
    with pytest.raises(NotSent):
        trial_request(route, trial_samples(route)[0])
