"""A fake platform, and the permission to call it."""

from collections.abc import Iterator
from typing import Any

import pytest

from platforms import github_login

from .fake import FakePlatform, fake_platform


@pytest.fixture
def fake(settings: Any) -> Iterator[FakePlatform]:
    settings.OUTBOUND_ALLOW_PRIVATE = True
    with fake_platform() as platform:
        settings.CHANNEL_API_BASES = {
            "telegram": platform.url,
            "github_comment": platform.url,
        }
        yield platform


@pytest.fixture(autouse=True)
def no_github_login(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in (*github_login.VARIABLES, *github_login.ENTERPRISE_VARIABLES):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", "/nonexistent")
    github_login.forget()
    yield
    github_login.forget()
