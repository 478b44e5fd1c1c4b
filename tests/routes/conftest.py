"""Fixtures of the receive path's tests."""

import pytest

from routes import refusals


@pytest.fixture(autouse=True)
def _write_refusals_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals, "FLUSH_SECONDS", 0)
