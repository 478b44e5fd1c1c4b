"""``manage.py system "…"``: the system agent at a terminal."""

import getpass
import sys
from argparse import ArgumentParser
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError

from agents.models import Artifact
from agents.services import DecisionRefused
from agents.services.consequences import Consequences
from agents.services.decisions import Done, confirm, describe, reject, title_of
from agents.services.system import converse


class Command(BaseCommand):
    """Say a sentence; look at what follows; confirm it."""

    help = (
        "Understands a sentence in English or Chinese, such as “switch DemoBot to webhook "
        "https://…”, shows what it would do, and does it when it is confirmed. Whoever runs it "
        "may do everything. A secret is best said on standard input (“-”): other users of the "
        "machine can see a command's arguments."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take the sentence, or the id of a form with what to do with it."""
        parser.add_argument("sentence", nargs="*", help="what you want; “-”: on standard input")
        parser.add_argument("--yes", action="store_true", help="confirm it at once")
        parser.add_argument(
            "--anyway", action="store_true", help="also if the webhook did not answer its ping"
        )
        parser.add_argument("--confirm", metavar="ID", type=UUID, help="confirm a form")
        parser.add_argument("--cancel", metavar="ID", type=UUID, help="cancel a form")

    def handle(self, *args: Any, **options: Any) -> None:
        """Answer; ask before anything is changed, if there is somebody to ask."""
        by = f"{getpass.getuser()} (manage.py)"
        if options["confirm"] or options["cancel"]:
            self._decide(options, by)
            return
        sentence = " ".join(options["sentence"])
        if sentence == "-":
            sentence = sys.stdin.read()
        if not sentence.strip():
            raise CommandError("Say what you want: manage.py system status")
        reply = converse(sentence, by=by, may=lambda permission: True)
        self.stdout.write(reply.said)
        for line in reply.lines:
            self.stdout.write(f"  {line}")
        artifact = reply.artifact
        if artifact is None:
            return
        change = describe(artifact)
        self._show(artifact, change)
        if options["yes"] or self._agreed(change, options):
            self._done(self._try(artifact, by, anyway=options["anyway"]))
        else:
            self.stdout.write(f"To confirm it: manage.py system --confirm {artifact.pk}")

    def _decide(self, options: dict[str, Any], by: str) -> None:
        pk = options["confirm"] or options["cancel"]
        forms = Artifact.objects.select_related("agent").exclude(kind=Artifact.Kind.FORM)
        artifact = forms.filter(pk=pk).first()
        if artifact is None:
            raise CommandError(f"There is no form {pk} to decide on.")
        if options["confirm"]:
            self._done(self._try(artifact, by, anyway=options["anyway"]))
            return
        try:
            self._done(reject(artifact, by))
        except DecisionRefused as error:
            raise CommandError(str(error)) from None

    def _show(self, artifact: Artifact, change: Consequences) -> None:
        self.stdout.write(f"\n{artifact.agent}: {title_of(artifact)}")
        self.stdout.write(f"  now:  {change.now}\n  then: {change.then}")
        for effect in (*change.effects, *filter(None, [change.checked])):
            self.stdout.write(f"  - {effect}")

    def _agreed(self, change: Consequences, options: dict[str, Any]) -> bool:
        if not sys.stdin.isatty():
            return False
        if change.in_doubt and not options["anyway"]:
            question = "Confirm it anyway? (y/N) "
        else:
            question = "Confirm? (y/N) "
        agreed = input(question).strip().lower() in ("y", "yes", "是", "好")
        options["anyway"] = options["anyway"] or agreed
        return agreed

    def _try(self, artifact: Artifact, by: str, *, anyway: bool) -> Done:
        try:
            return confirm(artifact, by, anyway=anyway)
        except DecisionRefused as error:
            raise CommandError(str(error)) from None

    def _done(self, done: Done) -> None:
        self.stdout.write(done.said)
        if done.secret:
            self.stdout.write(f"Its secret, shown this once:\n{done.secret}")
