"""“Let people talk to an agent here”, in the form of a route."""

import pytest
from django.test import Client

from platforms.models import Channel
from routes.chats import chats
from routes.models import Route

from .test_routes import LIST, errors, filled, page

pytestmark = pytest.mark.django_db

#: A new form as it is sent when nothing but name and chat was touched.
NEW = {"name": "talk", "events": "", "prompt": "", "deliver_extra": "", "fence": "on"}


@pytest.fixture
def bot() -> Channel:
    return Channel.objects.create(name="bot", kind="telegram")


def add(operator: Client, **changes: str) -> Route:
    response = operator.post(f"{LIST}add/", filled(**{**NEW, "chat": "telegram", **changes}))
    assert response.status_code == 302, response.context["adminform"].form.errors
    return Route.objects.get()


def test_the_platforms_of_chats_are_offered(operator: Client) -> None:
    field = operator.get(f"{LIST}add/").context["adminform"].form.fields["chat"]
    assert [kind for kind, _label in field.choices] == ["", *chats()]


def test_one_choice_fills_in_what_a_chat_needs(operator: Client, bot: Channel) -> None:
    route = add(operator)
    ready = chats()["telegram"].fields
    assert {name: getattr(route, name) for name in ready} == ready


def test_what_was_entered_stays(operator: Client, bot: Channel) -> None:
    route = add(
        operator,
        prompt="Asked in {message.chat.title}: {message.text}",
        conversation_key="{message.from.id}",
        deliver="bot",
        filters='[{"field": "message.chat.id", "equals": 7}]',
        deliver_extra='{"message_thread_id": "9"}',
    )
    assert route.prompt == "Asked in {message.chat.title}: {message.text}"
    assert route.conversation_key == "{message.from.id}"
    assert route.deliver == "bot"
    assert route.filters == [{"field": "message.chat.id", "equals": 7}]
    assert route.deliver_extra == {"chat_id": "{message.chat.id}", "message_thread_id": "9"}


def test_without_it_nothing_is_filled_in(operator: Client, bot: Channel) -> None:
    route = add(operator, chat="")
    assert (route.preset, route.prompt, route.deliver, route.fence) == ("auto", "", "log", True)


def test_a_route_that_is_there_can_become_a_chat(
    operator: Client, bot: Channel, route: Route
) -> None:
    operator.post(page(route), filled(**NEW, chat="telegram"))
    route.refresh_from_db()
    assert route.preset == "telegram"
    assert route.conversation_key == "{message.chat.id}"


@pytest.mark.parametrize(
    ("changes", "field", "said"),
    [
        ({"chat": "slack"}, "deliver", "There is no slack channel yet"),
        ({"chat": "slack", "deliver": "bot"}, "deliver", "choose a channel of Slack"),
        ({"deliver_only": "on"}, "deliver_only", "Somebody has to answer"),
        ({"chat": "discord"}, "chat", "not one of the available choices"),
    ],
)
def test_a_chat_that_can_not_be_is_explained_at_its_field(
    operator: Client, bot: Channel, changes: dict[str, str], field: str, said: str
) -> None:
    assert said in str(errors(operator, **{**NEW, "chat": "telegram", **changes})[field])
    assert not Route.objects.exists()
