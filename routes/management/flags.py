"""The flags of `webhook subscribe`: those of spec 001 and facts/hermes-agent.md §13, and ours."""

import argparse
import json
from collections.abc import Sequence
from typing import Any, Final

from django.core.management.base import CommandError, CommandParser

from routes.chats import Chat, chats, filled_in
from routes.coalescing import MAX_WAIT, WINDOW
from routes.models import Route
from routes.targets import LOG, Target

#: Flags of hermes-agent's command that mean nothing here, with the way out.
REFUSED: Final = {
    "--script": "Hermes runs no scripts: say the condition with --filter.",
    "--cron-job": "Hermes has no jobs: name the agent that does the work with --agent.",
    "--route-profile": "Hermes has no profiles: name the agent with --agent.",
    "--mirror-to-session": "what is delivered is in the ledger, with what led to it.",
    "--retry-on-script-failure": "Hermes runs no scripts.",
}
#: Where on a channel, by the names that targets have.
_PLACES: Final = {
    "--deliver-chat-id": ("chat_id", "where on it; empty: the channel's home"),
    "--thread-id": ("thread_id", "topic or thread there"),
    "--repo": ("repo", "for github_comment: owner/name, or a template"),
    "--pr-number": ("pr_number", "for github_comment: number, or a template"),
}


def add_flags(parser: CommandParser) -> None:
    """Add every flag of `subscribe` to its parser."""
    parser.add_argument("name")
    parser.add_argument("--events", default="", help="comma-separated; empty: every event")
    parser.add_argument("--prompt", default="", help="template; empty: the whole payload")
    parser.add_argument(
        "--deliver",
        action=_AddTarget,
        dest="places",
        help="a channel, or a platform (default: log); again for a further target, whose place "
        "the flags behind it say",
    )
    for flag, (_key, text) in _PLACES.items():
        parser.add_argument(flag, action=_AddTarget, dest="places", help=text)
    parser.add_argument(
        "--chat",
        choices=list(chats()),
        help="let people talk to the agent there: fills in source, events, filters, prompt, "
        "conversation key and target, where they are not said",
    )
    parser.add_argument("--deliver-only", action="store_true", help="skip the agent")
    parser.add_argument("--description", default="")
    parser.add_argument("--secret", help="default: generated, or the one it has")
    parser.add_argument("--skills", default="", help="comma-separated")
    for flag in REFUSED:
        parser.add_argument(flag, action=_Refuse, nargs="?", help=argparse.SUPPRESS)

    kept = parser.add_argument_group(
        "what stays as it is unless said", "an empty value takes it away"
    )
    kept.add_argument("--preset", help="who sends (default: recognised by the headers)")
    kept.add_argument(
        "--filter", action="append", metavar="JSON", help="condition; again for a further one"
    )
    kept.add_argument("--agent", help="by name (default: the default agent)")
    kept.add_argument("--conversation-key", help="template; one conversation for each value")
    kept.add_argument("--coalesce-key", help="template; the latest event of each value in a window")
    kept.add_argument("--coalesce-window", type=int, metavar="SECONDS", help=f"default: {WINDOW}")
    kept.add_argument(
        "--coalesce-max-wait", type=int, metavar="SECONDS", help=f"default: {MAX_WAIT}"
    )
    kept.add_argument(
        "--fence",
        action=argparse.BooleanOptionalAction,
        help="tell the agent what of the prompt came from outside",
    )
    kept.add_argument(
        "--answer-at-once",
        action=argparse.BooleanOptionalAction,
        help="answer 202 to a direct delivery before it is sent, and repeat it here",
    )


def asked(options: argparse.Namespace, route: Route | None) -> dict[str, Any]:
    """Return what `routes.services.subscribe` is asked for, by its parameters.

    ``route`` is what it was, if it was. Raises CommandError for what can't be read, and
    ValidationError for a chat that could not be answered.
    """
    found = {
        "events": [name for name in options.events.split(",") if name.strip()],
        "prompt": options.prompt,
        "targets": targets_in(options),
        "description": options.description,
        "secret": options.secret,
        "skills": options.skills.split(","),
        "deliver_only": options.deliver_only,
        "changes": changes_in(options, route),
    }
    if not options.chat:
        return found
    return _as_chat(chats()[options.chat], found)


def _as_chat(chat: Chat, found: dict[str, Any]) -> dict[str, Any]:
    """Return the same with what the chat has ready for what was not said."""
    first, *more = found["targets"]
    said = {
        **found["changes"],
        **{name: found[name] for name in ("events", "prompt", "deliver_only")},
        "deliver": first.deliver,
        "deliver_extra": dict(first.extra),
    }
    fields = filled_in(chat, said)
    ready = ("preset", "filters", "fence", "conversation_key")
    return {
        **found,
        "events": fields["events"],
        "prompt": fields["prompt"],
        "targets": [Target(fields["deliver"], fields["deliver_extra"]), *more],
        "changes": {**found["changes"], **{name: fields[name] for name in ready}},
    }


def targets_in(options: argparse.Namespace) -> list[Target]:
    """Return the targets in the order in which they were named.

    With one --deliver, every flag of a place is its own, wherever it stands; with several, each
    is that of the --deliver before it.
    """
    said: Sequence[tuple[str, str]] = options.places or ()
    names = [value for flag, value in said if flag == "--deliver"]
    places: list[dict[str, str]] = [{} for _ in names] or [{}]
    index = 0
    for flag, value in said:
        if flag == "--deliver":
            index = min(index + 1, len(names))
        elif value:
            places[max(index - 1, 0)][_PLACES[flag][0]] = value
    return [Target(name, place) for name, place in zip(names or [LOG], places, strict=True)]


def changes_in(options: argparse.Namespace, route: Route | None) -> dict[str, Any]:
    """Return the fields of a route that were said; ``route`` is what it was, if it was.

    Raises CommandError for what can't be read.
    """
    changes: dict[str, Any] = {
        field: value
        for field in ("preset", "agent", "conversation_key", "fence", "answer_at_once")
        if (value := getattr(options, field)) is not None
    }
    if changes.get("preset") == "":
        changes["preset"] = Route._meta.get_field("preset").get_default()
    if options.filter is not None:
        changes["filters"] = [spec for text in options.filter if text for spec in _filter(text)]
    coalesce = {
        "key": options.coalesce_key,
        "window_seconds": options.coalesce_window,
        "max_wait_seconds": options.coalesce_max_wait,
    }
    if any(value is not None for value in coalesce.values()):
        kept = route.coalesce if route else {}
        said = {name: value for name, value in coalesce.items() if value is not None}
        changes["coalesce"] = {} if options.coalesce_key == "" else {**kept, **said}
    return changes


def _filter(text: str) -> list[Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CommandError(f"--filter is not JSON: {error}") from error
    return value if isinstance(value, list) else [value]


class _AddTarget(argparse.Action):
    """Keeps the flags of targets with their values, in the order given."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        said = [*(getattr(namespace, self.dest) or ()), (option_string, values)]
        setattr(namespace, self.dest, said)


class _Refuse(argparse.Action):
    """Says what to do instead of a flag that is not supported."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        flag = self.option_strings[0]
        parser.error(f"{flag} is not supported: {REFUSED[flag]}")
