"""The chat endpoint on an agent's page: its fields, its key, and the test of its model."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from agents.models import Agent
from deliveries.models import Lane
from deliveries.runner import run_until_idle
from tests.agents.asking import KEY, saved
from tests.agents.conftest import deliver
from tests.agents.fake_model import FakeModel, fixture, sends, serving

pytestmark = pytest.mark.django_db


@pytest.fixture
def model() -> Iterator[FakeModel]:
    with serving(FakeModel()) as fake:
        yield fake


@pytest.fixture
def thinker(model: FakeModel) -> Agent:
    return saved(model)


def page(agent: Agent, act: str = "change") -> str:
    return f"/admin/agents/agent/{agent.pk}/{act}/"


def filled_in(agent: Agent, **changed: Any) -> dict[str, Any]:
    """What a browser posts when the form is saved as it stands; None leaves a field out."""
    said = {"name": agent.name, "concurrency": agent.concurrency}
    said |= {
        f"endpoint_{name}": "on" if value is True else value
        for name, value in agent.endpoint.items()
        if value not in (None, False)
    }
    said |= changed
    return {name: value for name, value in said.items() if value is not None}


def test_the_form_has_the_endpoint_of_an_agent_in_completions_mode_only(
    operator: Client, thinker: Agent, agent: Agent, model: FakeModel
) -> None:
    shown = operator.get(page(thinker)).content.decode()
    assert model.base_url in shown
    assert "endpoint_base_url" not in operator.get(page(agent)).content.decode()
    assert operator.post(page(agent), {"name": "renamed", "concurrency": 2}).status_code == 302
    agent.refresh_from_db()
    assert (agent.name, agent.endpoint) == ("renamed", {})


def test_what_is_saved_is_what_is_sent_from_then_on(
    operator: Client, thinker: Agent, model: FakeModel
) -> None:
    version = Lane.objects.get(pk=thinker.lane_id).version
    answer = operator.post(
        page(thinker),
        filled_in(
            thinker,
            endpoint_model="bigger",
            endpoint_system="Be brief.",
            endpoint_temperature="0.5",
            endpoint_max_tokens="100",
            endpoint_stream="on",
        ),
    )
    assert answer.status_code == 302
    assert Lane.objects.get(pk=thinker.lane_id).version > version
    deliver(thinker)
    run_until_idle()
    [request] = model.requests
    assert (request["model"], request["temperature"], request["stream"]) == ("bigger", 0.5, True)
    assert request["messages"][0] == {"role": "system", "content": "Be brief."}


def test_a_form_that_is_saved_as_it_stands_changes_nothing(
    operator: Client, thinker: Agent
) -> None:
    before = thinker.endpoint
    assert operator.post(page(thinker), filled_in(thinker)).status_code == 302
    thinker.refresh_from_db()
    assert (thinker.endpoint, thinker.endpoint_key) == (before, KEY)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("base_url", "http://169.254.169.254/v1"),
        ("base_url", ""),
        ("model", ""),
        ("temperature", "3"),
        ("timeout_seconds", "1"),
        ("history", "-1"),
        ("max_tokens", "many"),
        ("key", "two words"),
        ("lan", None),
    ],
)
def test_what_is_wrong_is_told_at_its_field_and_nothing_is_saved(
    operator: Client, thinker: Agent, field: str, value: str | None
) -> None:
    answer = operator.post(page(thinker), filled_in(thinker, **{f"endpoint_{field}": value}))
    assert answer.status_code == 200
    told = "base_url" if field == "lan" else field  # it is the address that is refused then
    assert set(answer.context["adminform"].form.errors) == {f"endpoint_{told}"}
    before = thinker.endpoint
    thinker.refresh_from_db()
    assert (thinker.endpoint, thinker.endpoint_key) == (before, KEY)


def test_the_key_is_never_shown_again(operator: Client, thinker: Agent) -> None:
    assert KEY not in operator.get(page(thinker)).content.decode()
    posted = filled_in(thinker, endpoint_key="sk-new-key-0123456789", endpoint_model="")
    assert "sk-new-key" not in operator.post(page(thinker), posted).content.decode()
    assert KEY not in "".join(LogEntry.objects.values_list("change_message", flat=True))


@pytest.mark.parametrize(
    ("changed", "key"),
    [
        ({"endpoint_key": " sk-new-key-0123456789 "}, "sk-new-key-0123456789"),
        ({"endpoint_forget_key": "on"}, ""),
        ({"endpoint_key": ""}, KEY),
    ],
)
def test_a_key_is_replaced_forgotten_or_kept(
    operator: Client, thinker: Agent, changed: dict[str, str], key: str
) -> None:
    assert operator.post(page(thinker), filled_in(thinker, **changed)).status_code == 302
    thinker.refresh_from_db()
    assert thinker.endpoint_key == key


def test_a_stored_key_does_not_move_to_another_host(operator: Client, thinker: Agent) -> None:
    elsewhere = {"endpoint_base_url": "http://127.0.0.1:9/v1"}
    answer = operator.post(page(thinker), filled_in(thinker, **elsewhere))
    assert set(answer.context["adminform"].form.errors) == {"endpoint_key"}
    anew = elsewhere | {"endpoint_key": "sk-of-the-other-one"}
    assert operator.post(page(thinker), filled_in(thinker, **anew)).status_code == 302
    thinker.refresh_from_db()
    assert thinker.endpoint_key == "sk-of-the-other-one"


def test_who_may_only_look_sees_the_agent_and_not_its_endpoint(
    person_with: Callable[..., Client], thinker: Agent
) -> None:
    shown = person_with("agents.view_agent").get(page(thinker))
    assert shown.status_code == 200
    assert "endpoint_base_url" not in shown.content.decode()


def test_the_page_of_the_test_says_what_is_called_and_what_it_costs(
    operator: Client, thinker: Agent, model: FakeModel
) -> None:
    shown = operator.get(page(thinker, "try")).content.decode()
    assert f"{model.base_url}/chat/completions" in shown
    assert "fake-1" in shown
    assert "32 out" in shown
    assert model.requests == []


def test_the_test_asks_once_and_says_what_came_back(
    operator: Client, thinker: Agent, model: FakeModel
) -> None:
    said = operator.post(page(thinker, "try"), follow=True).content.decode()
    assert "Model fake-1 answered in" in said
    assert "Looks good to me." in said
    assert "7 tokens in, 3 out" in said
    [request] = model.requests
    assert request["max_tokens"] == 32
    assert LogEntry.objects.filter(change_message__contains="it answers").exists()


@pytest.mark.parametrize("name", ["openai_401", "ollama_404_model"])
def test_a_test_without_success_says_why(
    operator: Client, thinker: Agent, model: FakeModel, name: str
) -> None:
    model.always = sends(fixture(f"error__{name}.json"), int(name.split("_")[1]))
    said = operator.post(page(thinker, "try"), follow=True)
    assert said.context["messages"]
    assert LogEntry.objects.filter(change_message__contains="without success").exists()
    assert KEY not in said.content.decode()


def test_a_model_that_wants_another_parameter_is_tested_with_it(
    operator: Client, thinker: Agent, model: FakeModel
) -> None:
    model.script = [sends(fixture("error__openai_400_max_tokens.json"), 400)]
    assert "answered in" in operator.post(page(thinker, "try"), follow=True).content.decode()


def test_the_test_is_for_who_may_change_the_agent(
    person_with: Callable[..., Client], thinker: Agent, model: FakeModel
) -> None:
    client = person_with("agents.view_agent")
    assert client.post(page(thinker, "try")).status_code == 403
    assert model.requests == []


def test_an_agent_without_a_model_has_none_to_test(operator: Client, agent: Agent) -> None:
    assert page(agent, "try") not in operator.get(page(agent)).content.decode()
    assert operator.post(page(agent, "try")).status_code == 302


def test_the_page_says_what_needs_a_person(
    operator: Client, thinker: Agent, model: FakeModel
) -> None:
    model.always = sends(fixture("error__openai_401.json"), 401)
    deliver(thinker)
    run_until_idle()
    assert "refused the API key" in operator.get(page(thinker)).content.decode()
