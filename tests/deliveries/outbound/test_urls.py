import socket
import threading
import time
from typing import Any

import pytest
from django.core.exceptions import ValidationError

from deliveries.outbound import (
    BlockedAddress,
    BlockedUrl,
    NameNotResolved,
    Policy,
    request,
    validate_outbound_url,
)
from deliveries.outbound.urls import check_url, resolve


@pytest.mark.parametrize(
    ("url", "normalised"),
    [
        ("https://example.com", "https://example.com/"),
        ("HTTPS://Example.COM:443/A?b=C#d", "https://example.com/A?b=C"),
        ("http://example.com.:8080/", "http://example.com:8080/"),
        ("http://example.com?x=1", "http://example.com/?x=1"),
        ("https://my_app.internal/a%20b/%E4", "https://my_app.internal/a%20b/%E4"),
        ("https://例え.テスト/路?q=é", "https://xn--r8jz45g.xn--zckzah/%E8%B7%AF?q=%C3%A9"),
        ("https://straße.example/", "https://xn--strae-oqa.example/"),
        ("http://[2606:4700:0:0::1111]:80/", "http://[2606:4700::1111]/"),
        ("http://1572395042/", "http://93.184.216.34/"),
        ("https://api.telegram.org/bot1:A/x", "https://api.telegram.org/bot1:A/x"),
    ],
)
def test_a_url_is_taken_apart_once(url: str, normalised: str) -> None:
    assert check_url(url).url == normalised


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com",
        "//example.com/",
        "ftp://example.com/",
        "file:///etc/passwd",
        "gopher://example.com/",
        "javascript:alert(1)",
        "http://",
        "http:///path",
        "http://:80/",
        "http:example.com",
        "http://user@example.com/",
        "http://user:secret@example.com/",
        "http://@example.com/",
        "http://example.com@127.0.0.1/",
        "http://example.com\\@127.0.0.1/",
        "http://127.0.0.1\\@example.com/",
        "http:\\\\example.com/",
        "http://example.com/\\..",
        " http://example.com/",
        "http://example.com/a b",
        "http://exam ple.com/",
        "http://example.com/\r\nX-Evil: 1",
        "http://example.com/\tx",
        "http://example.com/\x00",
        "http://example.com/\x7f",
        "http://example.com/\u2028",
        "http://exa\u200bmple.com/",
        "http://example.com:0/",
        "http://example.com:22/",
        "http://example.com:25/",
        "http://example.com:6379/",
        "http://example.com:65536/",
        "http://example.com:-1/",
        "http://example.com:80:80/",
        "http://example.com:８０/",
        "http://example.com:x/",
        "http://[fe80::1%25eth0]/",
        "http://[fe80::1%eth0]/",
        "http://[::1/",
        "http://[example.com]/",
        "http://[v1.x]/",
        "http://::1/",
        "http://127%2e0%2e0%2e1/",
        "http://1.2.3.4.5/",
        "http://256.1.1.1/",
        "http://0x/",
        "http://09.1.1.1/",
        "http://example..com/",
        "http://-example.com/",
        "http://*.example.com/",
        "http://exa$mple.com/",
        f"http://{'a' * 64}.example/",
        f"http://{'例' * 70}.example/",
        "http://xn--/",
        "http://a℀b.example/",
        "http://example.com/" + "a" * 2048,
    ],
)
def test_tricks_and_nonsense_are_refused_at_save_and_send(url: str, connected: list[Any]) -> None:
    with pytest.raises(BlockedUrl) as caught:
        request("GET", url, policy=Policy.LAN)
    assert caught.value.sent is False
    assert caught.value.error_class == "blocked"
    with pytest.raises(ValidationError):
        validate_outbound_url(url, Policy.LAN)
    assert connected == []


@pytest.mark.parametrize("tail", ["#@example.com/", "?@example.com/", "/@example.com", "/#?@"])
def test_the_host_ends_where_the_path_begins(tail: str) -> None:
    assert check_url("http://example.com" + tail).host == "example.com"
    with pytest.raises(BlockedAddress):
        check_url("http://127.0.0.1" + tail)


def test_a_name_without_an_address_may_be_saved_but_not_sent_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_args: Any, **_kwargs: Any) -> Any:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    validate_outbound_url("https://later.example/")
    with pytest.raises(NameNotResolved) as caught:
        request("GET", "https://later.example/")
    assert caught.value.error_class == "dns"
    assert caught.value.sent is False


def test_a_stuck_lookup_ends_with_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()

    def stuck(*_args: Any, **_kwargs: Any) -> Any:
        release.wait(20)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", stuck)
    started = time.monotonic()
    with pytest.raises(NameNotResolved, match="too long"):
        request("GET", "https://stuck.example/", timeout=0.3)
    assert time.monotonic() - started < 3
    release.set()


def test_all_good_answers_are_returned_in_order(names: dict[str, list[str]]) -> None:
    names["two.example"] = ["2606:4700::1111", "93.184.216.34"]
    found = resolve("two.example", 443, Policy.PUBLIC, 1.0)
    assert [(address.family, address.sockaddr[:2]) for address in found] == [
        (socket.AF_INET6, ("2606:4700::1111", 443)),
        (socket.AF_INET, ("93.184.216.34", 443)),
    ]


def test_no_answers_is_no_address(names: dict[str, list[str]]) -> None:
    names["none.example"] = []
    with pytest.raises(NameNotResolved):
        resolve("none.example", 443, Policy.PUBLIC, 1.0)
