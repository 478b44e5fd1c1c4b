"""A Hermes home on disk, for tests of what the gateway makes of it."""

import json
import os
from pathlib import Path

import pytest
from pytest_django import Settings

from routes import config_files
from routes.config_files import home_problems
from routes.models import Route

# The example of spec 001, whole.
EXAMPLE = """\
platforms:
  webhook:
    enabled: true
    extra:
      port: 8644
      secret: "global-fallback-secret"
      routes:
        github-pr:
          events: ["pull_request"]
          secret: "github-webhook-secret"
          prompt: |
            Review this pull request:
            Repository: {repository.full_name}
          skills: ["github-code-review"]
          deliver: "github_comment"
          deliver_extra:
            repo: "{repository.full_name}"
            pr_number: "{number}"
        deploy-notify:
          events: ["push"]
          secret: "deploy-secret"
          prompt: "New push to {repository.full_name} branch {ref}: {head_commit.message}"
          deliver: "telegram"
"""


class Home:
    """A Hermes home; every `write` is a change that a stat can see."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "config.yaml"
        self._tick = 1_700_000_000

    def write(self, text: str, name: str = "config.yaml") -> None:
        path = self.folder / name
        path.write_text(text)
        self._tick += 1
        os.utime(path, (self._tick, self._tick))

    def routes(self, text: str) -> None:
        """Write a config.yaml with these routes, given as the inside of the mapping."""
        lines = "".join(f"    {line}\n" for line in text.splitlines())
        self.write(f"platforms:\n  webhook:\n   routes:\n{lines}")

    def subscriptions(self, **routes: object) -> None:
        """Write the subscriptions file, as `hermes webhook subscribe` does."""
        self.write(json.dumps(routes), "webhook_subscriptions.json")

    def env(self, text: str) -> None:
        """Write .env."""
        self.write(text, ".env")

    def problems(self) -> list[str]:
        return [str(problem) for problem in home_problems()]


def make_home(folder: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Home:
    """Make a folder the home of a gateway without settings of its own."""
    settings.HERMES_HOME = str(folder)
    for name in ("ENABLED", "PORT", "SECRET", "RATE_LIMIT", "MAX_BODY_BYTES"):
        monkeypatch.delenv(f"WEBHOOK_{name}", raising=False)
    as_a_new_process(monkeypatch)
    return Home(folder)


def as_a_new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget what this process has read and written of a home."""
    monkeypatch.setattr(config_files, "_read", (config_files._UNREAD, config_files.Home()))
    monkeypatch.setattr(config_files, "_synced", config_files._Synced())


def names() -> set[str]:
    return set(Route.objects.values_list("name", flat=True))
