"""What every page of the admin keeps to."""

import re
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.test import Client

from agents.models import Agent
from agents.services import propose_switch
from deliveries.excerpts import LIMIT, excerpt
from platforms.models import Channel
from routes.models import Route

from .rows import a_delivery, a_refusal

TEMPLATES = sorted(Path(settings.BASE_DIR, "templates").rglob("*.html"))
OURS = [template.relative_to(settings.BASE_DIR).as_posix() for template in TEMPLATES]


@pytest.mark.parametrize("name", OURS)
def test_a_template_has_nothing_that_the_content_security_policy_refuses(name: str) -> None:
    text = Path(settings.BASE_DIR, name).read_text()
    assert not re.search(r"\sstyle\s*=", text), "an inline style"
    assert not re.search(r"<style", text), "a style sheet inside the page"
    assert not re.search(r"<script(?![^>]*\ssrc=)", text), "an inline script"
    assert not re.search(r"\son[a-z]+\s*=\s*[\"']", text), "an event handler"
    assert "javascript:" not in text
    assert not re.search(r"(src|href)=[\"']https?:", text), "something from elsewhere"


@pytest.fixture
def addresses(agent: Agent, channel: Channel, route: Route) -> list[str]:
    """One of every page."""
    delivery = a_delivery(agent.lane_id, "failed")
    artifact = propose_switch(agent, "websocket")
    return [
        "/admin/",
        "/admin/deliveries/",
        "/admin/deliveries/delivery/",
        f"/admin/deliveries/delivery/{delivery.pk}/change/",
        f"/admin/deliveries/delivery/{delivery.pk}/redeliver/",
        f"/admin/deliveries/delivery/{delivery.pk}/history/",
        "/admin/deliveries/event/",
        f"/admin/deliveries/event/{delivery.event_id}/change/",
        "/admin/agents/agent/",
        "/admin/agents/agent/add/",
        f"/admin/agents/agent/{agent.pk}/change/",
        f"/admin/agents/agent/{agent.pk}/recover/",
        f"/admin/agents/agent/{agent.pk}/switch/",
        f"/admin/agents/agent/{agent.pk}/token/",
        f"/admin/agents/agent/{agent.pk}/delete/",
        "/admin/agents/artifact/",
        f"/admin/agents/artifact/{artifact.pk}/change/",
        f"/admin/agents/artifact/{artifact.pk}/decide/",
        "/admin/routes/route/",
        "/admin/routes/route/add/",
        f"/admin/routes/route/{route.pk}/change/",
        f"/admin/routes/route/{route.pk}/secret/",
        f"/admin/routes/route/{route.pk}/copy-secret/",
        f"/admin/routes/route/{route.pk}/await-secret/",
        f"/admin/routes/route/{route.pk}/workbench/",
        f"/admin/routes/route/{route.pk}/test/",
        "/admin/routes/refusal/",
        f"/admin/routes/refusal/{a_refusal().pk}/change/",
        "/admin/platforms/channel/",
        f"/admin/platforms/channel/{channel.pk}/change/",
        "/admin/auth/user/",
        "/admin/django_q/success/",
        "/admin/password_change/",
    ]


@pytest.mark.django_db
def test_every_page_comes_with_the_policy_and_keeps_to_it(
    operator: Client, addresses: list[str]
) -> None:
    for address in addresses:
        response = operator.get(address)
        assert response.status_code == 200, address
        assert "default-src 'self'" in response.headers["Content-Security-Policy"], address
        text = response.content.decode()
        assert not re.search(r"\sstyle\s*=", text), address
        assert not re.search(r"<style|<script(?![^>]*\ssrc=)", text), address


@pytest.mark.django_db
def test_every_page_needs_a_login(client: Client, addresses: list[str]) -> None:
    for address in addresses:
        response = client.get(address)
        assert response.status_code == 302, address
        assert response.headers["Location"].startswith("/admin/login/"), address


@pytest.mark.django_db
def test_every_act_needs_a_csrf_token(admin_user: Any, unreachable: Agent) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(admin_user)
    assert strict.post(f"/admin/agents/agent/{unreachable.pk}/recover/").status_code == 403


def test_an_excerpt_is_indented_json_with_its_characters_as_they_are() -> None:
    assert excerpt('{"title":"Ü"}'.encode()).text == '{\n  "title": "Ü"\n}'


@pytest.mark.parametrize("body", [b"", b"not json", b"\xff\xfe\x00", b"[" * 100_000])
def test_an_excerpt_of_anything_is_text_and_short(body: bytes) -> None:
    found = excerpt(body)
    assert len(found.text) <= LIMIT
    assert "\x00" not in found.text
    assert found.cut is (len(body) > LIMIT)
