"""Subscriptions from the command line (spec 001, dynamic subscriptions)."""

import argparse
import json
from typing import Any

import requests
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from routes.config_files import effective_settings, sync_if_changed
from routes.models import Route
from routes.services import (
    LOG,
    TEST_EVENT,
    Subscription,
    normalised_name,
    remove,
    signed_sample,
    subscribe,
)

TEST_SECONDS = 10.0
SHOWN_OF_PROMPT = 80
SHOWN_OF_ANSWER = 2000
_WILDCARDS = frozenset({"", "0.0.0.0", "::"})  # noqa: S104  what to replace, not to listen on


class Command(BaseCommand):
    """Subscribe, list, remove and test routes."""

    help = "Manage webhook subscriptions."

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

        add = verbs.add_parser("subscribe", aliases=["add"], help="create or change one")
        add.add_argument("name")
        add.add_argument("--events", default="", help="comma-separated; empty: every event")
        add.add_argument("--prompt", default="", help="template; empty: the whole payload")
        add.add_argument("--deliver", default=LOG, help="a channel, or a platform (default: log)")
        add.add_argument("--deliver-chat-id", default="", help="empty: the channel's home")
        add.add_argument("--description", default="")
        add.add_argument("--secret", help="default: generated, or the one it has")
        add.add_argument("--skills", default="", help="comma-separated")
        add.add_argument("--deliver-only", action="store_true", help="skip the agent")
        add.set_defaults(act=self.subscribe)

        show = verbs.add_parser("list", aliases=["ls"], help="show all routes")
        show.set_defaults(act=self.list)

        drop = verbs.add_parser("remove", aliases=["rm"], help="delete a subscription")
        drop.add_argument("name")
        drop.set_defaults(act=self.remove)

        test = verbs.add_parser("test", help="post a signed sample to the running gateway")
        test.add_argument("name")
        test.add_argument("--event", help="default: the first the route takes, else “test”")
        test.add_argument("--payload", help="JSON; default: a short sample")
        test.set_defaults(act=self.test)

    def handle(self, *args: Any, **options: Any) -> None:
        if not effective_settings().enabled:
            raise CommandError(
                "Webhooks are not enabled. Set WEBHOOK_ENABLED=true in .env, or run "
                "`manage.py setup`."
            )
        sync_if_changed()
        try:
            options["act"](argparse.Namespace(**options))
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from error

    def subscribe(self, options: argparse.Namespace) -> None:
        done = subscribe(
            options.name,
            events=options.events.split(","),
            prompt=options.prompt,
            deliver=options.deliver,
            deliver_chat_id=options.deliver_chat_id,
            description=options.description,
            secret=options.secret,
            skills=options.skills.split(","),
            deliver_only=options.deliver_only,
        )
        self._say_subscribed(done)

    def list(self, _options: argparse.Namespace) -> None:
        routes = Route.objects.order_by("name")
        if not routes:
            self.stdout.write("No routes yet. Add one: manage.py webhook subscribe NAME")
        for route in routes:
            state = "" if route.enabled else ", disabled"
            self.stdout.write(f"{route.name} ({route.get_origin_display()}{state})")
            if route.description:
                self.stdout.write(f"  {route.description}")
            self.stdout.write(f"  URL:     {_public_url(route)}")
            self.stdout.write(f"  Events:  {_events(route)}")
            self.stdout.write(f"  Deliver: {_deliver(route)}")

    def remove(self, options: argparse.Namespace) -> None:
        remove(options.name)
        self.stdout.write(f"Removed {normalised_name(options.name)}.")

    def test(self, options: argparse.Namespace) -> None:
        name = normalised_name(options.name)
        route = Route.objects.filter(name=name).first()
        if route is None:
            raise CommandError(f"There is no route {name}. See: manage.py webhook list")
        event = options.event or next(iter(route.events), TEST_EVENT)
        sample = signed_sample(route, _payload(options.payload, event), event)
        url = _local_url(route)
        try:
            with requests.Session() as session:
                session.trust_env = False  # no proxy between this machine and itself
                answer = session.post(
                    url,
                    data=sample.body,
                    headers=dict(sample.headers),
                    timeout=TEST_SECONDS,
                    allow_redirects=False,
                )
        except requests.RequestException as error:
            raise CommandError(
                f"No answer from {url} ({type(error).__name__}). Is `manage.py gateway` running?"
            ) from error
        text = answer.text[:SHOWN_OF_ANSWER]
        if not answer.ok:
            raise CommandError(f"{url} answered {answer.status_code}: {text}")
        self.stdout.write(f"{answer.status_code} {text}")

    def _say_subscribed(self, done: Subscription) -> None:
        route = done.route
        self.stdout.write(f"{'Created' if done.created else 'Updated'} {route.name}")
        self.stdout.write(f"  URL:     {_public_url(route)}")
        if done.secret is not None:
            self.stdout.write(f"  Secret:  {done.secret}")
            self.stdout.write("           Shown this once: enter it at the sender now.")
        elif route.insecure_no_auth:
            self.stdout.write("  Secret:  none, unsigned requests are accepted")
        else:
            self.stdout.write("  Secret:  unchanged")
        self.stdout.write(f"  Events:  {_events(route)}")
        self.stdout.write(f"  Deliver: {_deliver(route)}")
        self.stdout.write(f"  Mode:    {'direct, no agent' if route.deliver_only else 'agent'}")
        if route.prompt:
            self.stdout.write(f"  Prompt:  {route.prompt[:SHOWN_OF_PROMPT]}")


def _public_url(route: Route) -> str:
    return f"{settings.PUBLIC_URL}/webhooks/{route.name}"


def _local_url(route: Route) -> str:
    host = settings.WEBHOOK_HOST.strip()
    host = "127.0.0.1" if host in _WILDCARDS else host
    host = f"[{host}]" if ":" in host else host
    return f"http://{host}:{effective_settings().port}/webhooks/{route.name}"


def _events(route: Route) -> str:
    return ", ".join(route.events) or "(all)"


def _deliver(route: Route) -> str:
    chat_id = route.deliver_extra.get("chat_id")
    return f"{route.deliver} {chat_id}" if chat_id else route.deliver


def _payload(text: str | None, event: str) -> object:
    if text is None:
        message = "A test event from `manage.py webhook test`."
        return {"test": True, "event_type": event, "message": message}
    try:
        return json.loads(text)
    except ValueError as error:
        raise CommandError(f"--payload is not JSON: {error}") from error
