"""Questions to a person at a terminal, each with a default."""

import getpass
from collections.abc import Mapping
from typing import TextIO

from django.core.management.base import CommandError


class Terminal:
    """Asks line by line; a question is asked again until its answer will do.

    Raises CommandError when the person ends it (Ctrl-D, Ctrl-C).
    """

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def say(self, text: str = "") -> None:
        """Print a line."""
        self._out.write(f"{text}\n")

    def ask(self, question: str, default: str = "", *, hidden: bool = False) -> str:
        """Return the answer, or the default for none; ``hidden`` shows neither."""
        shown = f" [{default}]" if default and not hidden else ""
        prompt = f"{question}{shown}: "
        self._out.flush()
        try:
            answer = getpass.getpass(prompt) if hidden else input(prompt)
        except (EOFError, KeyboardInterrupt):
            raise CommandError(
                "Broken off. What was answered is kept; `manage.py setup --ask` asks again."
            ) from None
        return answer.strip() or default

    def confirm(self, question: str, *, default: bool) -> bool:
        """Return whether the answer is yes."""
        while True:
            answer = self.ask(f"{question} ({'Y/n' if default else 'y/N'})").lower()
            if not answer:
                return default
            if answer in ("y", "yes", "n", "no"):
                return answer.startswith("y")
            self.say("Please answer y or n.")

    def choose(self, question: str, options: Mapping[str, object], default: str) -> str:
        """Return one of the names; their descriptions are listed first."""
        for name, description in options.items():
            self.say(f"  {name:<16} {description}")
        while (answer := self.ask(question, default)) not in options:
            self.say(f"“{answer}” is none of them.")
        return answer

    def number(self, question: str, default: int, allowed: range) -> int:
        """Return a number of the range."""
        while True:
            answer = self.ask(question, str(default))
            if answer.isascii() and answer.isdigit() and int(answer[:9]) in allowed:
                return int(answer)
            self.say(f"Please give a number from {allowed.start} to {allowed.stop - 1}.")
