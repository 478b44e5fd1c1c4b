"""The questions of `manage.py setup`, asked at a terminal."""

import io
from collections.abc import Callable, Iterator

import pytest
from django.core.management import CommandError
from pytest_django import Settings

from agents.models import Agent
from agents.services import default_agent
from hermes_site.management import wizard
from hermes_site.management.terminal import Terminal
from platforms.models import Channel
from routes.config_files import Effective
from routes.models import Route
from routes.services import effective_secrets

TOKEN = "700000001:" + "a" * 35
NOW = Effective(True, 8644, "", 30, 1_048_576)


class Person:
    """Types these answers, one for each question, and sees what is printed."""

    def __init__(self, answers: Iterator[str]) -> None:
        self.questions: list[str] = []
        self.out = io.StringIO()
        self.terminal = Terminal(self.out)
        self._answers = answers

    def type(self, question: str) -> str:
        self.questions.append(question)
        try:
            return next(self._answers)
        except StopIteration:
            raise EOFError from None

    @property
    def saw(self) -> str:
        return self.out.getvalue()


@pytest.fixture
def person(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Person]:
    def sits_down(*answers: str) -> Person:
        made = Person(iter(answers))
        monkeypatch.setattr("builtins.input", made.type)
        monkeypatch.setattr("getpass.getpass", made.type)
        return made

    return sits_down


MakePerson = Callable[..., Person]


class TestSettings:
    def test_enter_takes_every_default(self, person: MakePerson) -> None:
        values = wizard.ask_settings(person("", "", "").terminal, NOW, secret_known=False)
        assert values.keys() == {"WEBHOOK_ENABLED", "WEBHOOK_SECRET"}
        assert values["WEBHOOK_ENABLED"] == "true"
        assert len(values["WEBHOOK_SECRET"]) >= 43

    def test_what_is_answered_is_written(self, person: MakePerson) -> None:
        values = wizard.ask_settings(person("n", "9000", "mine").terminal, NOW, secret_known=True)
        assert values == {
            "WEBHOOK_ENABLED": "false",
            "WEBHOOK_PORT": "9000",
            "WEBHOOK_SECRET": "mine",
        }

    def test_a_secret_that_is_known_stays(self, person: MakePerson) -> None:
        values = wizard.ask_settings(person("", "", "").terminal, NOW, secret_known=True)
        assert "WEBHOOK_SECRET" not in values

    def test_what_can_not_be_is_asked_again(self, person: MakePerson, settings: Settings) -> None:
        settings.WEBHOOK_HOST = "0.0.0.0"
        someone = person("maybe", "y", "0", "70000", "x", "9000", "INSECURE_NO_AUTH", "s")
        values = wizard.ask_settings(someone.terminal, NOW, secret_known=False)
        assert (values["WEBHOOK_PORT"], values["WEBHOOK_SECRET"]) == ("9000", "s")
        assert "Please answer y or n." in someone.saw
        assert someone.saw.count("from 1 to 65535") == 3
        assert "WEBHOOK_HOST=127.0.0.1" in someone.saw

    def test_who_leaves_is_told_how_to_come_back(self, person: MakePerson) -> None:
        with pytest.raises(CommandError, match="setup --ask"):
            wizard.ask_settings(person("y").terminal, NOW, secret_known=False)


@pytest.mark.django_db
class TestChannel:
    def test_by_default_it_is_the_log(self, person: MakePerson) -> None:
        assert wizard.ask_channel(person("").terminal) == "log"
        assert Channel.objects.count() == 1

    def test_a_platform_is_asked_for_by_its_own_fields(self, person: MakePerson) -> None:
        someone = person("telegram", TOKEN, "-100123", "")
        assert wizard.ask_channel(someone.terminal) == "telegram"
        channel = Channel.objects.get(name="telegram")
        assert channel.config == {"bot_token": TOKEN}
        assert channel.home == {"chat_id": "-100123"}
        assert TOKEN not in someone.saw

    def test_only_what_was_wrong_is_asked_again(self, person: MakePerson) -> None:
        someone = person("telegramm", "telegram", "nonsense", TOKEN, "-100123", "")
        wizard.ask_channel(someone.terminal)
        assert "“telegramm” is none of them." in someone.saw
        assert "bot_token: A bot token looks like" in someone.saw
        assert Channel.objects.get(name="telegram").config == {"bot_token": TOKEN}

    def test_with_a_channel_there_nothing_is_asked(self, person: MakePerson) -> None:
        Channel.objects.create(name="ops", kind="telegram")
        someone = person()
        assert wizard.ask_channel(someone.terminal) == "ops"
        assert someone.questions == []


@pytest.mark.django_db
class TestAgent:
    def test_by_default_it_gets_a_token_to_connect_with(self, person: MakePerson) -> None:
        someone = person("")
        wizard.ask_agent(someone.terminal)
        assert "Token     hsk_" in someone.saw
        assert str(default_agent().pk) in someone.saw
        assert default_agent().connection_mode == Agent.Mode.WEBSOCKET

    def test_by_url_it_is_switched_and_shown_its_secret(self, person: MakePerson) -> None:
        someone = person("webhook", "not a url", "y", "https://93.184.215.14/hook")
        wizard.ask_agent(someone.terminal)
        agent = default_agent()
        assert agent.connection_mode == Agent.Mode.WEBHOOK
        assert agent.webhook_url == "https://93.184.215.14/hook"
        assert f"Secret    {agent.secrets.get().value}" in someone.saw

    def test_later_leaves_it_as_it_is(self, person: MakePerson) -> None:
        wizard.ask_agent(person("none").terminal)
        assert not default_agent().tokens.exists()

    def test_one_that_was_connected_is_not_asked_about(self, person: MakePerson) -> None:
        wizard.ask_agent(person("").terminal)
        someone = person()
        wizard.ask_agent(someone.terminal)
        assert someone.questions == []


@pytest.mark.django_db
class TestRoute:
    def test_by_default_it_is_one_for_everything_from_github(self, person: MakePerson) -> None:
        someone = person("", "", "")
        assert wizard.ask_route(someone.terminal, "log") == "github"
        route = Route.objects.get()
        assert (route.events, route.prompt, route.deliver) == ([], "", "log")
        assert f"Secret    {effective_secrets(route)[0]}" in someone.saw

    def test_a_name_that_can_not_be_one_is_asked_again(self, person: MakePerson) -> None:
        someone = person("a/b", "push", "", "deploys", "push", "New push")
        assert wizard.ask_route(someone.terminal, "log") == "deploys"
        assert "letters, digits" in someone.saw

    def test_later_makes_none(self, person: MakePerson) -> None:
        assert wizard.ask_route(person("none").terminal, "log") == ""
        assert not Route.objects.exists()
