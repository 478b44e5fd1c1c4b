"""``manage.py demo``: see it work, without touching anything of yours."""

import io
import logging
import shutil
import signal
import threading
import time
from argparse import ArgumentParser
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db.models import Max, Model
from django.urls import reverse

from agents.models import Agent
from deliveries.models import Delivery, Event
from hermes_site.demo import platforms, sandbox, scenario
from routes.models import Refusal

WAIT_SECONDS = 30


class Command(BaseCommand):
    """Run a gateway of its own, an agent and platforms, and post events to it."""

    requires_system_checks = ()  # the sandbox is not there yet
    help = (
        "Run a gateway of its own with a demo agent and stand-ins for GitHub, Telegram and Slack, "
        "post signed events to it, and print links to what happened. Your own data is not touched."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--data", type=Path, help="keep the demo's data in this folder (default: a temporary)"
        )
        parser.add_argument("--port", type=int, help="listen there (default: a free port)")
        parser.add_argument(
            "--once", action="store_true", help="end after the events instead of waiting for Ctrl-C"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Set up, post, tell, and stay until Ctrl-C."""
        if not sandbox.is_inside():
            sandbox.enter(options["data"], options["port"], once=options["once"])
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        logging.getLogger().setLevel(logging.WARNING)  # the story is told below
        with ExitStack() as stack:
            if sandbox.is_temporary():
                stack.callback(shutil.rmtree, settings.HERMES_DATA_DIR, ignore_errors=True)
            try:
                self._run(stack)
                if not options["once"]:
                    self.stdout.write("Look around; Ctrl-C ends the demo.")
                    threading.Event().wait()
            except KeyboardInterrupt:
                self.stdout.write("\nEnding the demo.")

    def _run(self, stack: ExitStack) -> None:
        call_command("setup", stdout=io.StringIO())
        server = platforms.serve()
        stack.callback(server.shutdown)
        agent_port = sandbox.free_port()
        made = scenario.set_up(agent_port, server.server_address[1])
        stack.enter_context(sandbox.gateway())
        stack.enter_context(sandbox.agent(agent_port, dict(made.agent)))
        self.stdout.write(
            f"\nHermes runs on {settings.PUBLIC_URL}; its log is "
            f"{settings.HERMES_DATA_DIR / 'gateway.log'}\n\n"
        )
        self._post_all(made)
        agent = Agent.objects.get(name=scenario.AGENT_NAME)
        self.stdout.write(
            "\n"
            f"  Admin     {self.style.SUCCESS(_link('admin:index'))}\n"
            f"  Login     {self.style.SUCCESS(scenario.ADMIN_NAME)}\n"
            f"  Password  {self.style.SUCCESS(made.password)}\n"
            f"  Agent     {_page(agent)}\n"
        )

    def _post_all(self, made: scenario.Setup) -> None:
        first = scenario.pull_request(made.secrets["github-pr"])
        self._post("GitHub says that a pull request was opened", first, 202)
        self._post("GitHub says it again: a duplicate", first, 200, is_news=False)
        forged = scenario.pull_request("another secret")
        self._post("Someone else says so: a wrong signature", forged, 401, is_news=False)
        merge = scenario.merge_request(made.secrets["gitlab-mr"])
        self._post("GitLab says that a merge request was opened", merge, 202)
        push = scenario.push(made.secrets["deploy-notify"])
        self._post("GitHub says that something was pushed", push, 200)
        question = scenario.question(made.secrets["talk"])
        self._post("Somebody writes to the bot in Slack", question, 202)

    def _post(
        self, what: str, request: scenario.Post, expected: int, *, is_news: bool = True
    ) -> None:
        """Post one request, wait for all that comes of it, and print where to look."""
        seen = _latest_refusal()
        status, body = scenario.post(request)
        self.stdout.write(self.style.MIGRATE_HEADING(what))
        said = body.get("status") or body.get("error", "")
        self.stdout.write(f"  POST /webhooks/{request.route} → {status} {said}")
        if status != expected:
            raise CommandError(f"{expected} was expected: {body}")
        if is_news:
            event = Event.objects.get(route=request.route, dedupe_key=request.id)
            for delivery in _finished(event):
                to = f"{delivery.lane.kind} {delivery.lane.label}"
                self.stdout.write(f"  {delivery.status} to {to}: {_page(delivery)}")
            self.stdout.write(f"  event: {_page(event)}")
        elif status >= 400:
            self.stdout.write(f"  refusal: {_page(_refusal_after(seen))}")
        self.stdout.write("")


def _finished(event: Event) -> list[Delivery]:
    """Return the deliveries of a chain when none is pending; an agent's answer is one more."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        chain = list(
            Delivery.objects.filter(event__trace=event.trace).select_related("lane").order_by("pk")
        )
        answered = [one for one in chain if one.event_id != event.pk]
        asked = any(one.lane.kind == "agent" for one in chain)
        pending = any(one.status == Delivery.Status.PENDING for one in chain)
        if chain and not pending and (answered or not asked):
            return chain
        if time.monotonic() > deadline:
            states = ", ".join(f"{one.lane.label} {one.status}" for one in chain) or "nothing"
            raise CommandError(f"Not all came through within {WAIT_SECONDS} s: {states}.")
        time.sleep(0.1)


def _latest_refusal() -> int:
    return Refusal.objects.aggregate(latest=Max("pk"))["latest"] or 0


def _refusal_after(pk: int) -> Refusal:
    """Return the refusal that was noted since; it is written after the answer."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        refusal = Refusal.objects.filter(pk__gt=pk).first()
        if refusal:
            return refusal
        if time.monotonic() > deadline:
            raise CommandError(f"The refusal was not noted within {WAIT_SECONDS} s.")
        time.sleep(0.1)


def _page(row: Model) -> str:
    """Return the address of a row's page in the admin."""
    meta = row._meta
    return _link(f"admin:{meta.app_label}_{meta.model_name}_change", row.pk)


def _link(name: str, *arguments: object) -> str:
    return f"{settings.PUBLIC_URL}{reverse(name, args=arguments)}"
