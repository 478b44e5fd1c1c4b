"""The page behind a signed link."""

import re
from datetime import timedelta
from urllib.parse import urlsplit

import pytest
import time_machine
from django.test import Client
from django.utils import timezone

from agents.models import Agent, Artifact
from agents.services.artifacts import ask, cancel, link_to
from deliveries.models import Delivery

pytestmark = pytest.mark.django_db

FIELDS = [
    {"name": "go", "type": "choice", "options": ["yes", "no"], "required": True},
    {"name": "why", "type": "text"},
]


@pytest.fixture
def artifact(agent: Agent) -> Artifact:
    return ask(agent, title="Deploy <b>now</b>?", text="Line one\nline two", fields=FIELDS)


def path(artifact: Artifact) -> str:
    return urlsplit(link_to(artifact)).path


def test_it_shows_the_question_without_a_login(client: Client, artifact: Artifact) -> None:
    response = client.get(path(artifact))
    page = response.content.decode()
    assert response.status_code == 200
    assert "Deploy &lt;b&gt;now&lt;/b&gt;?" in page
    assert "reviewer asks" in page
    assert "no-store" in response.headers["Cache-Control"]
    assert "noindex" in page


def test_it_has_no_script_and_no_style_of_its_own(client: Client, artifact: Artifact) -> None:
    response = client.get(path(artifact))
    page = response.content.decode()
    assert not re.search(r"<script|\son\w+=|style=", page)
    assert "default-src 'self'" in response.headers["Content-Security-Policy"]


def test_an_answer_is_taken_once(client: Client, artifact: Artifact) -> None:
    response = client.post(path(artifact), {"answer-go": "yes", "answer-why": "小心"}, follow=True)
    assert "The answer is on its way to reviewer." in response.content.decode()
    artifact.refresh_from_db()
    assert artifact.answer == {"go": "yes", "why": "小心"}
    assert (artifact.state, artifact.decided_by) == ("confirmed", "link")

    client.post(path(artifact), {"answer-go": "no"})
    artifact.refresh_from_db()
    assert artifact.answer["go"] == "yes"
    assert Delivery.objects.filter(event_type="artifact_response").count() == 1


def test_afterwards_the_answer_is_not_shown_to_whoever_has_the_link(
    client: Client, artifact: Artifact
) -> None:
    client.post(path(artifact), {"answer-go": "yes", "answer-why": "between us"})
    page = Client().get(path(artifact)).content.decode()
    assert "between us" not in page
    assert "<form" not in page


def test_a_wrong_answer_shows_the_form_again(client: Client, artifact: Artifact) -> None:
    response = client.post(path(artifact), {"answer-go": "perhaps", "answer-why": "kept"})
    page = response.content.decode()
    assert "Please look at what is marked below." in page
    assert 'value="kept"' in page
    artifact.refresh_from_db()
    assert artifact.state == "open"


def test_an_empty_post_is_no_answer(client: Client, artifact: Artifact) -> None:
    assert "This field is required." in client.post(path(artifact)).content.decode()


def test_a_post_from_elsewhere_is_refused(artifact: Artifact) -> None:
    strict = Client(enforce_csrf_checks=True)
    assert strict.post(path(artifact), {"answer-go": "yes"}).status_code == 403
    token = strict.get(path(artifact)).context["csrf_token"]
    sent = {"answer-go": "yes", "csrfmiddlewaretoken": token}
    assert strict.post(path(artifact), sent).status_code == 302


def test_a_link_that_we_did_not_sign_is_a_404(client: Client, artifact: Artifact) -> None:
    for wrong in (f"/artifacts/{artifact.pk}", f"{path(artifact)}x", "/artifacts/a.b"):
        response = client.get(wrong)
        assert response.status_code == 404
        assert "This link leads nowhere." in response.content.decode()
        assert client.post(wrong, {"answer-go": "yes"}).status_code == 404


def test_an_expired_form_says_so_and_takes_nothing(client: Client, artifact: Artifact) -> None:
    with time_machine.travel(timezone.now() + timedelta(days=2), tick=False):
        for response in (
            client.get(path(artifact)),
            client.post(path(artifact), {"answer-go": "yes"}),
        ):
            assert "The time to answer is over." in response.content.decode()
    artifact.refresh_from_db()
    assert artifact.answer == {}


def test_a_form_that_was_taken_back_says_so(client: Client, artifact: Artifact) -> None:
    cancel(artifact)
    assert "does not need an answer any more" in client.get(path(artifact)).content.decode()


def test_it_is_read_and_posted_only(client: Client, artifact: Artifact) -> None:
    assert client.put(path(artifact)).status_code == 405
