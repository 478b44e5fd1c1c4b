"""Subscriptions from the command line (spec 001, dynamic subscriptions)."""

import argparse
import json
from dataclasses import replace
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from routes.chats import chats
from routes.config_files import effective_settings, file_of, sync_if_changed
from routes.curl import address
from routes.file_routes import FROM_FILE
from routes.management.downstream import follow
from routes.management.flags import add_flags, asked
from routes.matching import as_events, matches
from routes.models import Route
from routes.samples import Sample, sample
from routes.services import Subscription, normalised_name, remove, subscribe
from routes.sources import preset_of
from routes.targets import targets_of
from routes.trials import NotSent, post, trial_preset, trial_request, trial_samples

WAIT_SECONDS = 10.0
SHOWN_OF_PROMPT = 80


class Command(BaseCommand):
    """Subscribe, list, remove and test routes."""

    help = "Manage webhook subscriptions."

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

        add = verbs.add_parser("subscribe", aliases=["add"], help="create or change one")
        add_flags(add)
        add.set_defaults(act=self.subscribe)

        show = verbs.add_parser("list", aliases=["ls"], help="show all routes")
        show.set_defaults(act=self.list)

        drop = verbs.add_parser("remove", aliases=["rm"], help="delete a subscription")
        drop.add_argument("name")
        drop.set_defaults(act=self.remove)

        test = verbs.add_parser("test", help="post a signed sample to the running gateway")
        test.add_argument("name")
        test.add_argument("--event", help="default: the first the route takes, else “test”")
        test.add_argument("--payload", help="JSON; default: a sample of the route's source")
        test.add_argument(
            "--wait",
            type=float,
            default=WAIT_SECONDS,
            metavar="SECONDS",
            help=f"how long to watch what comes of it (default: {WAIT_SECONDS:g}; 0: not at all)",
        )
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
        route = Route.objects.filter(name=normalised_name(options.name)).first()
        done = subscribe(options.name, **asked(options, route))
        self._say_subscribed(done)
        if options.chat:
            self._say_next(done.route, options.chat)

    def list(self, _options: argparse.Namespace) -> None:
        routes = Route.objects.order_by("name")
        if not routes:
            self.stdout.write("No routes yet. Add one: manage.py webhook subscribe NAME")
        for route in routes:
            state = "" if route.enabled else ", disabled"
            origin = _file(route) or route.get_origin_display()
            self.stdout.write(f"{route.name} ({origin}{state})")
            if route.description:
                self.stdout.write(f"  {route.description}")
            self.stdout.write(f"  URL:     {address(route)}")
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
        try:
            sample = _sample(route, options.event, options.payload)
            posted = post(route, trial_request(route, sample))
        except NotSent as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"{posted.status} {posted.text}")
        if posted.event is not None and options.wait > 0:
            for line in follow(posted.event, options.wait):
                self.stdout.write(f"  {line}")
        if posted.status >= 400:
            raise CommandError(f"The gateway answered {posted.status}.")

    def _say_subscribed(self, done: Subscription) -> None:
        route = done.route
        self.stdout.write(f"{'Created' if done.created else 'Updated'} {route.name}")
        self.stdout.write(f"  URL:     {address(route)}")
        if done.secret is not None:
            self.stdout.write(f"  Secret:  {done.secret}")
            self.stdout.write("           Shown this once: enter it at the sender now.")
        elif route.insecure_no_auth:
            self.stdout.write("  Secret:  none, unsigned requests are accepted")
        elif done.created:
            self.stdout.write(f"  Secret:  none yet; {route.preset} tells it when it is set up")
        else:
            self.stdout.write("  Secret:  unchanged")
        self.stdout.write(f"  Events:  {_events(route)}")
        self.stdout.write(f"  Deliver: {_deliver(route)}")
        self.stdout.write(f"  Mode:    {'direct, no agent' if route.deliver_only else 'agent'}")
        if route.prompt:
            self.stdout.write(f"  Prompt:  {route.prompt[:SHOWN_OF_PROMPT]}")

    def _say_next(self, route: Route, chat: str) -> None:
        """Say what is left to do at the platform."""
        preset = preset_of(route)
        for step in (preset.setup if preset else "", chats()[chat].setup):
            if step:
                self.stdout.write(f"  Next:    {step}")


def _events(route: Route) -> str:
    return ", ".join(route.events) or "(all)"


def _deliver(route: Route) -> str:
    return ", ".join(
        " ".join([deliver, *map(str, extra.values())]) for deliver, extra in targets_of(route)
    )


def _file(route: Route) -> str:
    """Return the file that a route stands in; empty for one of the database's own."""
    return file_of(route.name) if route.origin == FROM_FILE else ""


def _sample(route: Route, event: str | None, payload: str | None) -> Sample:
    """Return the sample to send: the first that the route takes, unless something is said."""
    found = trial_samples(route)
    wanted = ([event] if event else route.events) or [found[0].event]
    takes = ((as_events(name), one) for name in wanted for one in found)
    chosen = next((one for name, one in takes if matches(name, one.event, {}, one.payload)), None)
    if chosen is None:
        chosen = sample(trial_preset(route).name, wanted[0])
    if payload is None:
        return chosen
    try:
        return replace(chosen, payload=json.loads(payload))
    except (ValueError, RecursionError) as error:
        raise CommandError(f"--payload is not JSON: {error}") from error
