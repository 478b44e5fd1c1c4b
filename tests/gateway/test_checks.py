"""Settings that contradict each other are said at the start."""

import pytest
from pytest_django import Settings

from hermes_site.checks import check_numbers, check_public_url, check_webhooks_enabled


def test_the_defaults_are_in_order() -> None:
    assert check_numbers(None) == []
    assert check_public_url(None) == []


@pytest.mark.parametrize("name", ["RUNNERS", "SENDER_THREADS", "LEDGER_DAYS"])
def test_a_number_below_one_is_refused_by_name(settings: Settings, name: str) -> None:
    setattr(settings, name, 0)
    (error,) = check_numbers(None)
    assert error.id == "hermes.E001"
    assert name in error.msg


@pytest.mark.parametrize("port", [0, 65_536])
def test_a_port_that_can_not_be_is_refused(settings: Settings, port: int) -> None:
    settings.WEBHOOK_PORT = port
    (error,) = check_numbers(None)
    assert error.id == "hermes.E002"


def test_webhooks_that_are_not_enabled_are_a_warning(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WEBHOOK_ENABLED", raising=False)
    settings.WEBHOOK_ENABLED = False
    (warning,) = check_webhooks_enabled(None)
    assert warning.id == "hermes.W001"


@pytest.mark.parametrize(
    ("url", "hosts", "found"),
    [
        ("https://hermes.example.com", ["hermes.example.com"], []),
        ("https://hermes.example.com", [".example.com"], []),
        ("https://hermes.example.com", ["localhost"], ["hermes.W002"]),
        ("http://[::1]:8644", ["[::1]"], []),
    ],
)
def test_a_public_url_whose_host_the_admin_refuses_is_a_warning(
    settings: Settings, url: str, hosts: list[str], found: list[str]
) -> None:
    settings.PUBLIC_URL, settings.ALLOWED_HOSTS = url, hosts
    assert [message.id for message in check_public_url(None)] == found
