"""The questions of `manage.py setup`: settings, first channel, first agent, first route."""

from typing import Any

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError

from agents.models import Agent
from agents.services import confirm_switch, default_agent, issue_token, propose_switch
from platforms.fields import SecretField
from platforms.models import Channel
from platforms.registry import senders
from platforms.sender import Sender
from platforms.services import save_config
from routes.config_entries import INSECURE_NO_AUTH, is_loopback
from routes.config_files import Effective
from routes.models import Route
from routes.services import LOG, Target, normalised_name, subscribe
from vault.services import generate_secret

from .terminal import Terminal

PORTS = range(1, 65_536)
NONE = "none"
DEFAULT_ROUTE = "github"


def ask_settings(terminal: Terminal, now: Effective, *, secret_known: bool) -> dict[str, str]:
    """Return the settings to write into .env, by name.

    ``now`` are those that count without it; ``secret_known``: one of them is a global secret.
    """
    terminal.say("Enter takes the default. Nothing is started yet.\n")
    enabled = terminal.confirm("Receive webhooks?", default=True)
    values = {"WEBHOOK_ENABLED": str(enabled).lower()}
    port = terminal.number("Port to listen on", now.port, PORTS)
    if port != now.port:
        values["WEBHOOK_PORT"] = str(port)
    if secret := _ask_secret(terminal, secret_known=secret_known):
        values["WEBHOOK_SECRET"] = secret
    return values


def ask_channel(terminal: Terminal) -> str:
    """Set up the first channel beside the log; return its name, or the log's for none."""
    there = Channel.objects.exclude(kind=LOG).order_by("name").values_list("name", flat=True)
    if there:
        terminal.say(f"\nChannels: {', '.join(there)}.")
        return str(there[0])
    terminal.say("\nWhere may answers and notices go? (More in the admin, under Channels.)")
    kinds = {kind: sender.summary for kind, sender in senders().items()}
    kind = terminal.choose("First channel", kinds, LOG)
    if kind == LOG:
        return LOG
    sender = senders()[kind]
    config = _filled(terminal, sender, sender.Config)
    home = _filled(terminal, sender, sender.Home)
    shown = save_config(Channel(name=kind, kind=kind), config, home)
    for name, value in shown.items():
        terminal.say(f"{sender.Config.base_fields[name].label}: {value}  (shown this once)")
    return kind


def ask_agent(terminal: Terminal) -> None:
    """Connect the default agent, unless it has been connected before."""
    agent = default_agent()
    connected = agent.connection_mode == Agent.Mode.WEBHOOK or agent.tokens.exists()
    if connected:
        return
    terminal.say(f"\nHow does the agent “{agent.name}” get its events?")
    modes = {
        Agent.Mode.WEBSOCKET.value: "it connects to Hermes with a token",
        Agent.Mode.WEBHOOK.value: "Hermes posts to its URL",
        NONE: "later; its events wait",
    }
    mode = terminal.choose("Agent", modes, Agent.Mode.WEBSOCKET.value)
    if mode == NONE:
        return
    if mode == Agent.Mode.WEBHOOK:
        _connect_by_webhook(terminal, agent)
    terminal.say(f"  Agent id  {agent.pk}")
    terminal.say(f"  Token     {issue_token(agent)}  (shown this once)")


def ask_route(terminal: Terminal, deliver: str) -> str:
    """Make the first route; return its name, empty for none."""
    if Route.objects.exists():
        return ""
    terminal.say("\nA route is an address that a sender posts to.")
    while True:
        name = terminal.ask("First route, by name (none: later)", DEFAULT_ROUTE)
        if name == NONE:
            return ""
        events = terminal.ask("Events it takes, comma-separated (empty: all)")
        prompt = terminal.ask("Prompt (empty: the whole payload)")
        try:
            done = subscribe(
                normalised_name(name),
                events=events.split(","),
                prompt=prompt,
                targets=[Target(deliver, {})],
                description=f"Made by setup: {name}",
            )
        except ValidationError as error:
            terminal.say(" ".join(error.messages))
            continue
        terminal.say(f"  Secret    {done.secret}  (shown this once; enter it at the sender)")
        return done.route.name


def _ask_secret(terminal: Terminal, *, secret_known: bool) -> str:
    kept = "keep the one there is" if secret_known else "generate one"
    while True:
        secret = terminal.ask(
            f"Global secret, for routes without their own (hidden; empty: {kept})", hidden=True
        )
        if secret == INSECURE_NO_AUTH and not is_loopback(settings.WEBHOOK_HOST):
            terminal.say("That takes unsigned requests; it needs WEBHOOK_HOST=127.0.0.1.")
            continue
        return secret or ("" if secret_known else generate_secret())


def _connect_by_webhook(terminal: Terminal, agent: Agent) -> None:
    # The guard lets nothing be posted to this machine unless it is told to.
    nearby = "http://127.0.0.1:8700/hashee/webhook" if settings.OUTBOUND_ALLOW_PRIVATE else ""
    while True:
        url = terminal.ask("URL of the agent", nearby)
        try:
            secret = confirm_switch(propose_switch(agent, Agent.Mode.WEBHOOK, url=url), by="setup")
        except ValidationError as error:
            terminal.say(" ".join(error.messages))
            if not terminal.confirm("Another URL?", default=True):
                return
            continue
        terminal.say(f"  Secret    {secret}  (shown this once; the agent verifies with it)")
        return


def _filled(terminal: Terminal, sender: type[Sender], form: type[forms.Form]) -> dict[str, Any]:
    """Ask for the fields of a sender's form until they will do; return what it cleaned."""
    data = {
        name: field.initial for name, field in form.base_fields.items() if field.initial is not None
    }
    asked = [
        name
        for name, field in form.base_fields.items()
        if name not in (*sender.advanced, *sender.of_stored)
        and not isinstance(field, forms.BooleanField | forms.MultipleChoiceField)
    ]
    while True:
        for name in asked:
            data[name] = _answer(terminal, form.base_fields[name], data.get(name))
        filled = form(data)
        if filled.is_valid():
            return filled.cleaned_data
        for name, errors in filled.errors.items():
            terminal.say(f"{name}: {' '.join(map(str, errors))}")
        asked = [name for name in asked if name in filled.errors] or asked


def _answer(terminal: Terminal, field: forms.Field, default: object) -> str:
    if field.help_text:
        terminal.say(f"  {field.help_text}")
    optional = "" if field.required else " (optional)"
    hidden = isinstance(field, SecretField)
    return terminal.ask(f"{field.label}{optional}", str(default or ""), hidden=hidden)
